// AES (FIPS 197) on columns: a word holds a column of the state, its first byte lowest.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace torchprotect::cuda {

struct SBoxes {
  uint8_t forward[256] = {}, backward[256] = {};
};

/// Multiply by x in GF(2^8), in each byte of a word.
TORCHPROTECT_HD constexpr uint32_t twice(uint32_t bytes) {
  return (bytes & 0x7f7f7f7f) << 1 ^ (bytes >> 7 & 0x01010101) * 0x1b;
}

/// FIPS 197, 5.1.1: the inverse in GF(2^8), then an affine map.
constexpr SBoxes make_sboxes() {
  uint8_t powers[255] = {};  // of 3: each number but zero once, and powers[i] times powers[255 - i] is one
  for (uint32_t i = 0, power = 1; i < 255; ++i, power ^= twice(power)) powers[i] = static_cast<uint8_t>(power);
  SBoxes boxes;
  for (int i = 0; i < 256; ++i) {
    const uint8_t value = i < 255 ? powers[i] : 0;
    const uint32_t inverse = i < 255 ? powers[(255 - i) % 255] : 0, twin = inverse * 0x101;
    const auto mapped = static_cast<uint8_t>(twin ^ twin >> 4 ^ twin >> 5 ^ twin >> 6 ^ twin >> 7 ^ 0x63);
    boxes.forward[value] = mapped;
    boxes.backward[mapped] = value;
  }
  return boxes;
}

TORCHPROTECT_HD constexpr uint32_t rotate(uint32_t word, int bits) { return word << bits | word >> (32 - bits); }

/// What one byte of a state adds to its column: its S-box value times (2, 1, 1, 3), or, backwards, (14, 9, 13, 11).
TORCHPROTECT_HD inline uint32_t column_of(const SBoxes& boxes, uint32_t byte, bool decrypt) {
  const uint32_t once = decrypt ? boxes.backward[byte] : boxes.forward[byte], two = twice(once);
  if (!decrypt) return two | once << 8 | once << 16 | (two ^ once) << 24;
  const uint32_t four = twice(two), eight = twice(four);
  return (eight ^ four ^ two) | (eight ^ once) << 8 | (eight ^ four ^ once) << 16 | (eight ^ two ^ once) << 24;
}

/// InvMixColumns of one column.
TORCHPROTECT_HD inline uint32_t unmix(uint32_t word) {
  const uint32_t two = twice(word), four = twice(two), eight = twice(four);
  const uint32_t x9 = eight ^ word, x11 = x9 ^ two, x13 = x9 ^ four, x14 = eight ^ four ^ two;
  return x14 ^ rotate(x11, 24) ^ rotate(x13, 16) ^ rotate(x9, 8);
}

}  // namespace torchprotect::cuda
