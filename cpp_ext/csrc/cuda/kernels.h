// The CUDA kernels.
//
// The host cannot read an order that lies on the device without waiting for it, so orders arrive unchecked here: a
// block of the result whose entry names no block of the image is filled with zeros, and no memory is read for it.
#pragma once

#include "../image.h"

namespace torchprotect::cuda {

void block_permute(const PermuteTask& task, int device_index);
void aes_ecb(const AesTask& task, int device_index);
void block_matmul(const MatmulTask& task, int device_index);

}  // namespace torchprotect::cuda
