// AES by instructions on 512 bits: four units in a register, under one key or four, eight registers in flight.
#include "aes_ni.h"

namespace torchprotect::cpu {
namespace {

constexpr int kInFlight = 8, kLanes = 4;

struct Four {
  const char* from;
  char* to;
};

__m128i load_unit(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }

/// Four units side by side in one vector.
struct Wide {
  using Vector = __m512i;
  static constexpr int kVectors = 1;

  static Vector load(const char* from, int64_t, int) { return _mm512_loadu_si512(from); }
  static void store(char* to, int64_t, int, Vector state) { _mm512_storeu_si512(to, state); }
  static Vector mix(Vector state, Vector key) { return _mm512_xor_si512(state, key); }
  template <bool kDecrypt>
  static Vector round(Vector state, Vector key) {
    return kDecrypt ? _mm512_aesdec_epi128(state, key) : _mm512_aesenc_epi128(state, key);
  }
  template <bool kDecrypt>
  static Vector last(Vector state, Vector key) {
    return kDecrypt ? _mm512_aesdeclast_epi128(state, key) : _mm512_aesenclast_epi128(state, key);
  }
};

/// Four units apart, in two vectors: that takes fewer and cheaper steps to put together than one.
struct Apart {
  using Vector = __m256i;
  static constexpr int kVectors = 2;

  static Vector load(const char* from, int64_t pitch, int half) {
    from += 2 * half * pitch;
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load_unit(from)), load_unit(from + pitch), 1);
  }
  static void store(char* to, int64_t pitch, int half, Vector state) {
    to += 2 * half * pitch;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(state));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + pitch), _mm256_extracti128_si256(state, 1));
  }
  static Vector mix(Vector state, Vector key) { return _mm256_xor_si256(state, key); }
  template <bool kDecrypt>
  static Vector round(Vector state, Vector key) {
    return kDecrypt ? _mm256_aesdec_epi128(state, key) : _mm256_aesenc_epi128(state, key);
  }
  template <bool kDecrypt>
  static Vector last(Vector state, Vector key) {
    return kDecrypt ? _mm256_aesdeclast_epi128(state, key) : _mm256_aesenclast_epi128(state, key);
  }
};

/// All rounds but the last, on every state in turn.
template <class Way, bool kDecrypt, int kRounds, int kStates>
inline void go_through_rounds(const typename Way::Vector (&keys)[kRounds + 1], typename Way::Vector (&state)[kStates]) {
#pragma GCC unroll 16
  for (int round = 1; round < kRounds; ++round) {
    for (int i = 0; i < kStates; ++i) state[i] = Way::template round<kDecrypt>(state[i], keys[round]);
  }
}

template <class Way, bool kDecrypt, int kRounds, int kCount>
inline void crypt(
    const typename Way::Vector (&keys)[kRounds + 1], const Four* fours, int64_t from_pitch, int64_t to_pitch) {
  constexpr int kStates = kCount * Way::kVectors;
  typename Way::Vector state[kStates];
  for (int i = 0; i < kStates; ++i) {
    state[i] = Way::mix(Way::load(fours[i / Way::kVectors].from, from_pitch, i % Way::kVectors), keys[0]);
  }
  go_through_rounds<Way, kDecrypt, kRounds>(keys, state);
  for (int i = 0; i < kStates; ++i) {
    state[i] = Way::template last<kDecrypt>(state[i], keys[kRounds]);
    Way::store(fours[i / Way::kVectors].to, to_pitch, i % Way::kVectors, state[i]);
  }
}

template <class Way, bool kDecrypt, int kRounds>
void crypt_fours(const typename Way::Vector (&keys)[kRounds + 1], const Units& units) {
  const int64_t from_pitch = units.reads.pitch, to_pitch = units.writes.pitch;
  Four batch[kInFlight];
  int count = 0;
  for_each_unit<kLanes>(units, [&](const char* from, char* to) {
    batch[count++] = {from, to};
    if (count < kInFlight) return;
    crypt<Way, kDecrypt, kRounds, kInFlight>(keys, batch, from_pitch, to_pitch);
    count = 0;
  });
  int done = 0;
  if (count >= 4) {
    crypt<Way, kDecrypt, kRounds, 4>(keys, batch, from_pitch, to_pitch);
    done = 4;
  }
  for (; done < count; ++done) crypt<Way, kDecrypt, kRounds, 1>(keys, batch + done, from_pitch, to_pitch);
}

template <bool kDecrypt, int kRounds>
void with_one_key(const uint8_t* schedule, const Units& units) {
  if (units.reads.pitch == kUnitBytes && units.writes.pitch == kUnitBytes) {
    __m512i keys[kRounds + 1];
    for (int i = 0; i <= kRounds; ++i) keys[i] = _mm512_broadcast_i32x4(load_unit(schedule + kUnitBytes * i));
    crypt_fours<Wide, kDecrypt, kRounds>(keys, units);
  } else {
    __m256i keys[kRounds + 1];
    for (int i = 0; i <= kRounds; ++i) keys[i] = _mm256_broadcastsi128_si256(load_unit(schedule + kUnitBytes * i));
    crypt_fours<Apart, kDecrypt, kRounds>(keys, units);
  }
}

/// The same round key of four schedules.
__m512i join_keys(const uint8_t* const* schedules, int count, int round) {
  const auto key = [=](int lane) { return load_unit(schedules[lane % count] + kUnitBytes * round); };
  const __m512i two = _mm512_inserti32x4(_mm512_castsi128_si512(key(0)), key(1), 1);
  return _mm512_inserti32x4(_mm512_inserti32x4(two, key(2), 2), key(3), 3);
}

template <bool kDecrypt, int kRounds>
void with_key_per_lane(const uint8_t* const* schedules, const Units& units) {
  __m512i keys[kRounds + 1];
  for (int i = 0; i <= kRounds; ++i) keys[i] = join_keys(schedules, kLanes, i);
  crypt_fours<Wide, kDecrypt, kRounds>(keys, units);
}

/// Narrow blocks: four rows of 16 bytes, which are rows of `16 / kRun` blocks side by side, make four units in one
/// permutation, and the other way round.
template <int kRun, bool kFull>
struct Rows {
  static constexpr int kBlocks = kUnitBytes / kRun;

  explicit Rows(const Narrow& given) : blocks(given) {
    valid = static_cast<__mmask16>((1 << given.blocks * kRun) - 1);
    adjacent = true;
    for (int i = 0; i < kBlocks; ++i) {  // blocks left over at the edge read what another reads
      offsets[i] = given.offsets[i < given.blocks ? i : 0];
      if (i > 0 && i < given.blocks) adjacent &= offsets[i] == offsets[i - 1] + kRun;
    }
  }

  __m128i load_row(const char* from) const {
    if (adjacent) return kFull ? load_unit(from + offsets[0]) : _mm_maskz_loadu_epi8(valid, from + offsets[0]);
    if constexpr (kRun == 4) {
      int parts[4];
      for (int i = 0; i < 4; ++i) std::memcpy(parts + i, from + offsets[i], 4);
      return _mm_set_epi32(parts[3], parts[2], parts[1], parts[0]);
    } else {
      long long parts[2];
      for (int i = 0; i < 2; ++i) std::memcpy(parts + i, from + offsets[i], 8);
      return _mm_set_epi64x(parts[1], parts[0]);
    }
  }
  __m512i load(const char* from) const {
    const int64_t pitch = blocks.from_pitch;
    __m512i rows = _mm512_castsi128_si512(load_row(from));
    rows = _mm512_inserti32x4(rows, load_row(from + pitch), 1);
    rows = _mm512_inserti32x4(rows, load_row(from + 2 * pitch), 2);
    rows = _mm512_inserti32x4(rows, load_row(from + 3 * pitch), 3);
    return turn(rows);
  }
  void store(char* to, __m512i units) const {
    const __m512i rows = turn(units);
    const int64_t pitch = blocks.to_pitch;
    store_row(to, _mm512_castsi512_si128(rows));
    store_row(to + pitch, _mm512_extracti32x4_epi32(rows, 1));
    store_row(to + 2 * pitch, _mm512_extracti32x4_epi32(rows, 2));
    store_row(to + 3 * pitch, _mm512_extracti32x4_epi32(rows, 3));
  }
  void store_row(char* to, __m128i row) const {
    if constexpr (kFull) return _mm_storeu_si128(reinterpret_cast<__m128i*>(to), row);
    _mm_mask_storeu_epi8(to, valid, row);
  }
  /// Its own inverse: lane `l` becomes a unit of block `l % kBlocks`.
  static __m512i turn(__m512i state) {
    if constexpr (kRun == 4) {
      const __m512i lanes = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
      return _mm512_permutexvar_epi32(lanes, state);
    } else {
      return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 1, 3, 4, 6, 5, 7), state);
    }
  }

  const Narrow& blocks;
  int64_t offsets[kBlocks];
  __mmask16 valid;
  bool adjacent;
};

template <bool kDecrypt, int kRounds, int kCount, class Rows>
inline void crypt_rows(const __m512i (&keys)[kRounds + 1], const Rows& rows, const Four* at) {
  __m512i state[kCount];
  for (int i = 0; i < kCount; ++i) state[i] = Wide::mix(rows.load(at[i].from), keys[0]);
  go_through_rounds<Wide, kDecrypt, kRounds>(keys, state);
  for (int i = 0; i < kCount; ++i) rows.store(at[i].to, Wide::last<kDecrypt>(state[i], keys[kRounds]));
}

template <bool kDecrypt, int kRounds, int kRun, bool kFull>
void narrow_blocks(const uint8_t* const* schedules, const Narrow& blocks) {
  using Way = Rows<kRun, kFull>;
  const Way rows(blocks);
  __m512i keys[kRounds + 1];
  for (int i = 0; i <= kRounds; ++i) keys[i] = join_keys(schedules, Way::kBlocks, i);
  Four batch[kInFlight];
  int count = 0;
  for (int64_t plane = 0; plane < blocks.planes; ++plane) {
    for (int64_t y = 0; y < blocks.height; y += 4) {
      batch[count++] = {blocks.from[plane] + y * blocks.from_pitch, blocks.to[plane] + y * blocks.to_pitch};
      if (count == kInFlight) {
        crypt_rows<kDecrypt, kRounds, kInFlight>(keys, rows, batch);
        count = 0;
      }
    }
  }
  for (int i = 0; i < count; ++i) crypt_rows<kDecrypt, kRounds, 1>(keys, rows, batch + i);
}

template <bool kDecrypt, int kRounds>
void narrow_of(const uint8_t* const* schedules, const Narrow& blocks) {
  const bool full = blocks.blocks * blocks.run == kUnitBytes;
  if (blocks.run == 4) {
    (full ? narrow_blocks<kDecrypt, kRounds, 4, true> : narrow_blocks<kDecrypt, kRounds, 4, false>)(schedules, blocks);
  } else {
    (full ? narrow_blocks<kDecrypt, kRounds, 8, true> : narrow_blocks<kDecrypt, kRounds, 8, false>)(schedules, blocks);
  }
}

/// One of six, for a direction and a key length.
template <class Function>
Function pick(const Function (&all)[2][3], int rounds, bool decrypt) {
  return all[decrypt][(rounds - 10) / 2];
}

void one_key(const uint8_t* schedule, int rounds, bool decrypt, const Units& units) {
  constexpr void (*kAll[2][3])(const uint8_t*, const Units&) = {
      {with_one_key<false, 10>, with_one_key<false, 12>, with_one_key<false, 14>},
      {with_one_key<true, 10>, with_one_key<true, 12>, with_one_key<true, 14>}};
  pick(kAll, rounds, decrypt)(schedule, units);
}

void key_per_lane(const uint8_t* const* schedules, int rounds, bool decrypt, const Units& units) {
  constexpr void (*kAll[2][3])(const uint8_t* const*, const Units&) = {
      {with_key_per_lane<false, 10>, with_key_per_lane<false, 12>, with_key_per_lane<false, 14>},
      {with_key_per_lane<true, 10>, with_key_per_lane<true, 12>, with_key_per_lane<true, 14>}};
  pick(kAll, rounds, decrypt)(schedules, units);
}

void narrow(const uint8_t* const* schedules, int rounds, bool decrypt, const Narrow& blocks) {
  constexpr void (*kAll[2][3])(const uint8_t* const*, const Narrow&) = {
      {narrow_of<false, 10>, narrow_of<false, 12>, narrow_of<false, 14>},
      {narrow_of<true, 10>, narrow_of<true, 12>, narrow_of<true, 14>}};
  pick(kAll, rounds, decrypt)(schedules, blocks);
}

}  // namespace

const Cipher vaes_cipher{kLanes, expand_by_instruction, one_key, key_per_lane, narrow};

}  // namespace torchprotect::cpu
