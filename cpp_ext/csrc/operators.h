// The operators of one device: PyTorch's calls taken apart, arguments checked, kernels started.
#pragma once

#include "image.h"

namespace torchprotect {

/// Where one device's kernels are.
struct Kernels {
  const char* dispatch_key;
  bool on_host;  // the order can be read, and so checked, by the host
  void (*block_permute)(const PermuteTask&, int device_index);
  void (*aes_ecb)(const AesTask&, int device_index);
  void (*block_matmul)(const MatmulTask&, int device_index);
};

/// Add the kernels to the schemas that torchprotect/ops defines. Throws when PyTorch refuses.
void register_kernels(const Kernels& kernels);

}  // namespace torchprotect
