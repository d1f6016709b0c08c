// Key expansion by AES instructions, for the two ciphers that have them. Each includes a copy of its own.
#pragma once

#include <immintrin.h>

#include "aes.h"

namespace torchprotect::cpu {
namespace {

/// The S-box on each byte of a word. The four columns are the same, so that the shift of rows changes nothing.
inline uint32_t substitute_word(uint32_t word) {
  const __m128i columns = _mm_set1_epi32(static_cast<int>(word));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_aesenclast_si128(columns, _mm_setzero_si128())));
}

void expand_by_instruction(const uint8_t* key, int64_t bytes, bool decrypt, uint8_t* schedule) {
  expand_forward(key, bytes, schedule, substitute_word);
  if (!decrypt) return;
  const int rounds = rounds_of(bytes);
  __m128i forward[15];
  std::memcpy(forward, schedule, kUnitBytes * (rounds + 1));
  for (int round = 0; round <= rounds; ++round) {
    const __m128i taken = forward[rounds - round];
    const __m128i used = round == 0 || round == rounds ? taken : _mm_aesimc_si128(taken);
    std::memcpy(schedule + kUnitBytes * round, &used, kUnitBytes);
  }
}

}  // namespace
}  // namespace torchprotect::cpu
