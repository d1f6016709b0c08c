// The CPU kernels.
#pragma once

#include "../image.h"

namespace torchprotect::cpu {

void block_permute(const PermuteTask& task, int device_index);
void aes_ecb(const AesTask& task, int device_index);
void block_matmul(const MatmulTask& task, int device_index);

}  // namespace torchprotect::cpu
