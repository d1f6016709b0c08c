// The operators of one device: unpack PyTorch's calls, check arguments, run kernels.
#pragma once

#include "image.h"

namespace torchprotect {

/// The kernels of one device.
struct Kernels {
  const char* dispatch_key;
  bool on_host;  // the host can read, and so check, the order
  void (*block_permute)(const PermuteTask&, int device_index);
  void (*aes_ecb)(const AesTask&, int device_index);
  void (*block_matmul)(const MatmulTask&, int device_index);
};

/// Add the kernels to the schemas that torchprotect/ops defines. Throws when PyTorch refuses.
void register_kernels(const Kernels& kernels);

}  // namespace torchprotect
