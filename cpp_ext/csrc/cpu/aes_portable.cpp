// AES by look-up tables, for machines without AES instructions. The time of a look-up depends on its
// address, so another process on the same core may learn about keys. It is never used where AES instructions exist.
#include "aes.h"

namespace torchprotect::cpu {
namespace {

uint8_t times(uint8_t a, uint8_t b) {  // in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1
  uint8_t product = 0;
  for (; b != 0; b >>= 1, a = static_cast<uint8_t>(a << 1 ^ (a & 0x80 ? 0x1b : 0))) product ^= b & 1 ? a : 0;
  return product;
}

uint32_t rotate(uint32_t word, int bytes) { return bytes == 0 ? word : word << 8 * bytes | word >> (32 - 8 * bytes); }

/// S-boxes, and what a byte contributes to its column: substitution and mixing in one word, for each row of the state.
struct Tables {
  uint8_t sub[256], unsub[256];
  uint32_t mix[4][256], unmix[4][256];

  Tables() {
    for (int i = 0; i < 256; ++i) {
      const auto a = static_cast<uint8_t>(i);
      uint8_t inverse = 0;
      for (int b = 1; b < 256 && inverse == 0; ++b) {
        if (times(a, static_cast<uint8_t>(b)) == 1) inverse = static_cast<uint8_t>(b);
      }
      uint8_t value = 0x63;
      for (int shift = 0; shift < 5; ++shift) value ^= static_cast<uint8_t>(inverse << shift | inverse >> (8 - shift));
      sub[i] = value;
      unsub[value] = a;
    }
    for (int i = 0; i < 256; ++i) {
      for (int row = 0; row < 4; ++row) {
        mix[row][i] = rotate(column(sub[i], 2, 1, 1, 3), row);
        unmix[row][i] = rotate(column(unsub[i], 14, 9, 13, 11), row);
      }
    }
  }

  static uint32_t column(uint8_t a, uint8_t first, uint8_t second, uint8_t third, uint8_t fourth) {
    return static_cast<uint32_t>(times(a, first)) | static_cast<uint32_t>(times(a, second)) << 8 |
           static_cast<uint32_t>(times(a, third)) << 16 | static_cast<uint32_t>(times(a, fourth)) << 24;
  }
};

const Tables& tables() {
  static const Tables made;
  return made;
}

uint8_t byte(uint32_t word, int place) { return static_cast<uint8_t>(word >> 8 * place); }

uint32_t substitute(const uint8_t* box, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return box[byte(a, 0)] | box[byte(b, 1)] << 8 | box[byte(c, 2)] << 16 | static_cast<uint32_t>(box[byte(d, 3)]) << 24;
}

void expand(const uint8_t* key, int64_t bytes, bool decrypt, uint8_t* schedule) {
  const Tables& t = tables();
  expand_forward(key, bytes, schedule, [&](uint32_t w) { return substitute(t.sub, w, w, w, w); });
  if (!decrypt) return;
  const int rounds = rounds_of(bytes);
  uint32_t words[4 * 15];
  std::memcpy(words, schedule, 16 * (rounds + 1));
  for (int round = 0; round <= rounds; ++round) {
    for (int i = 0; i < 4; ++i) {
      uint32_t word = words[4 * (rounds - round) + i];
      if (round != 0 && round != rounds) {
        uint32_t mixed = 0;
        for (int row = 0; row < 4; ++row) mixed ^= t.unmix[row][t.sub[byte(word, row)]];
        word = mixed;
      }
      std::memcpy(schedule + 16 * round + 4 * i, &word, 4);
    }
  }
}

/// One unit. Rows of the state move left when encrypting (`step` 1), right when decrypting (`step` 3).
void crypt_unit(
    const uint32_t (*mix)[256], const uint8_t* box, int step, const uint8_t* schedule, int rounds, const char* from,
    char* to) {
  uint32_t state[4], next[4], key[4];
  std::memcpy(state, from, kUnitBytes);
  std::memcpy(key, schedule, kUnitBytes);
  for (int i = 0; i < 4; ++i) state[i] ^= key[i];
  for (int round = 1; round <= rounds; ++round) {
    std::memcpy(key, schedule + kUnitBytes * round, kUnitBytes);
    for (int i = 0; i < 4; ++i) {
      const uint32_t a = state[i], b = state[(i + step) & 3], c = state[(i + 2) & 3], d = state[(i + 3 * step) & 3];
      next[i] = round < rounds ? mix[0][byte(a, 0)] ^ mix[1][byte(b, 1)] ^ mix[2][byte(c, 2)] ^ mix[3][byte(d, 3)]
                               : substitute(box, a, b, c, d);
      next[i] ^= key[i];
    }
    std::memcpy(state, next, kUnitBytes);
  }
  std::memcpy(to, state, kUnitBytes);
}

void one_key(const uint8_t* schedule, int rounds, bool decrypt, const Units& units) {
  const Tables& t = tables();
  for_each_unit<1>(units, [&](const char* from, char* to) {
    crypt_unit(decrypt ? t.unmix : t.mix, decrypt ? t.unsub : t.sub, decrypt ? 3 : 1, schedule, rounds, from, to);
  });
}

}  // namespace

const Cipher portable_cipher{1, expand, one_key, nullptr, nullptr};

}  // namespace torchprotect::cpu
