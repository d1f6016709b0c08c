// The CPU kernels.
#pragma once

#include "../image.h"

namespace torchprotect::cpu {

void block_permute(const PermuteTask& task, int device_index);
void aes_ecb(const AesTask& task, int device_index);
void block_matmul(const MatmulTask& task, int device_index);

int64_t read_stored(
    const int* files, const int64_t* offsets, int64_t count, const int64_t* parts, int64_t part_count,
    const uint8_t* expected, const uint8_t* matters, int64_t row, uint8_t* out);

}  // namespace torchprotect::cpu
