// The instructions that the kernels may use.
#pragma once

namespace torchprotect::cpu {

enum class Level { portable = 0, avx2 = 1, avx512 = 2 };  // avx2 also stands for AES-NI, avx512 for VAES

/// Set an upper limit, for tests and benchmarks; returns the highest level that limit and machine both allow.
Level limit_level(Level limit);

bool may_use_avx2();    // with FMA
bool may_use_avx512();  // F, BW, DQ, VL
bool may_use_vbmi();    // with AVX-512
bool may_use_aesni();
bool may_use_vaes();  // on 512 bits

}  // namespace torchprotect::cpu
