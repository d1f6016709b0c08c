// AES by instructions on 128 bits, eight units in flight.
#include "aes_ni.h"

namespace torchprotect::cpu {
namespace {

constexpr int kInFlight = 8;

struct Unit {
  const char* from;
  char* to;
};

template <bool kDecrypt, int kCount>
inline void crypt(const __m128i* keys, int rounds, const Unit* units) {
  __m128i state[kCount];
  for (int i = 0; i < kCount; ++i) {
    state[i] = _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(units[i].from)), keys[0]);
  }
  for (int round = 1; round < rounds; ++round) {
    for (int i = 0; i < kCount; ++i) {
      state[i] = kDecrypt ? _mm_aesdec_si128(state[i], keys[round]) : _mm_aesenc_si128(state[i], keys[round]);
    }
  }
  for (int i = 0; i < kCount; ++i) {
    state[i] = kDecrypt ? _mm_aesdeclast_si128(state[i], keys[rounds]) : _mm_aesenclast_si128(state[i], keys[rounds]);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(units[i].to), state[i]);
  }
}

template <bool kDecrypt>
void crypt_units(const uint8_t* schedule, int rounds, const Units& units) {
  __m128i keys[kMaxScheduleBytes / kUnitBytes];
  std::memcpy(keys, schedule, kUnitBytes * (rounds + 1));
  Unit batch[kInFlight];
  int count = 0;
  for_each_unit<1>(units, [&](const char* from, char* to) {
    batch[count++] = {from, to};
    if (count == kInFlight) {
      crypt<kDecrypt, kInFlight>(keys, rounds, batch);
      count = 0;
    }
  });
  for (int i = 0; i < count; ++i) crypt<kDecrypt, 1>(keys, rounds, batch + i);
}

void one_key(const uint8_t* schedule, int rounds, bool decrypt, const Units& units) {
  (decrypt ? crypt_units<true> : crypt_units<false>)(schedule, rounds, units);
}

}  // namespace

const Cipher aesni_cipher{1, expand_by_instruction, one_key, nullptr, nullptr};

}  // namespace torchprotect::cpu
