// Multipliers on 512 bits.
//
// Matrices up to 8 x 8: a vector holds the same row of several neighbouring blocks. For each k, element k of every
// block's row is spread over that block's lanes and multiplied by row k of the blocks' matrices, side by side in
// another.
#include <immintrin.h>

#include <utility>

#include "block_matmul_loops.h"

namespace torchprotect::cpu {
namespace {

constexpr int kLanes = 16;

constexpr __mmask16 first_lanes(int64_t count) { return static_cast<__mmask16>((1u << count) - 1); }

struct SixteenFloats {
  using Type = __m512;
  static constexpr int64_t kWidth = 16;
  static constexpr int kRows = 8;
  static Type zero() { return _mm512_setzero_ps(); }
  static Type load(const float* from) { return _mm512_loadu_ps(from); }
  static void store(float* to, Type value) { _mm512_storeu_ps(to, value); }
  static void store_first(float* to, Type value, int64_t count) {
    _mm512_mask_storeu_ps(to, first_lanes(count), value);
  }
  static Type repeat(float value) { return _mm512_set1_ps(value); }
  static Type add_product(Type sum, Type a, Type b) { return _mm512_fmadd_ps(a, b, sum); }
};

struct EightDoubles {
  using Type = __m512d;
  static constexpr int64_t kWidth = 8;
  static constexpr int kRows = 8;
  static Type zero() { return _mm512_setzero_pd(); }
  static Type load(const double* from) { return _mm512_loadu_pd(from); }
  static void store(double* to, Type value) { _mm512_storeu_pd(to, value); }
  static void store_first(double* to, Type value, int64_t count) {
    _mm512_mask_storeu_pd(to, static_cast<__mmask8>(first_lanes(count)), value);
  }
  static Type repeat(double value) { return _mm512_set1_pd(value); }
  static Type add_product(Type sum, Type a, Type b) { return _mm512_fmadd_pd(a, b, sum); }
};

/// Row k of the matrices side by side, one vector for each k.
template <int kSize>
void pack_rows(const float* const* matrices, int64_t count, int64_t, float* packed) {
  std::fill(packed, packed + kSize * kLanes, 0.0f);
  for (int k = 0; k < kSize; ++k) {
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(packed + k * kLanes + i * kSize, matrices[i] + k * kSize, kSize * sizeof(float));
    }
  }
}

/// Loads the same row of all blocks: at once where they are neighbours in the image too, otherwise block by block.
template <int kSize>
class RowLoader {
 public:
  explicit RowLoader(const Blocks<float>& blocks) : count_(blocks.blocks), all_(first_lanes(count_ * kSize)) {
    for (int64_t i = 0; i < count_; ++i) {
      offsets_[i] = blocks.offsets[i] - i * kSize;  // so that the block arrives in its own lanes
      adjacent_ &= offsets_[i] == offsets_[0];
    }
  }
  __mmask16 all() const { return all_; }
  __m512 load(const float* from) const {
    if (adjacent_) return _mm512_maskz_loadu_ps(all_, from + offsets_[0]);
    __m512 row = _mm512_setzero_ps();
    for (int64_t i = 0; i < count_; ++i) {
      const auto lanes = static_cast<__mmask16>(first_lanes(kSize) << i * kSize);
      row = _mm512_mask_loadu_ps(row, lanes, from + offsets_[i]);
    }
    return row;
  }

 private:
  int64_t count_;
  __mmask16 all_;
  bool adjacent_ = true;
  int64_t offsets_[kLanes];
};

/// Spreads element k of each block's row over the block's lanes.
template <int kSize>
class Spreader {
 public:
  Spreader() {
    for (int k = 0; k < kSize && !kInPlace; ++k) {
      alignas(64) int lanes[kLanes];
      for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = (lane / kSize * kSize + k) % kLanes;
      lanes_[k] = _mm512_load_si512(lanes);
    }
  }
  template <int k>
  __m512 spread(__m512 row) const {
    if constexpr (kSize == 4) return _mm512_permute_ps(row, k * 0x55);
    return _mm512_permutexvar_ps(lanes_[k], row);
  }

 private:
  static constexpr bool kInPlace = kSize == 4;  // blocks are quarters of a vector: no table needed
  __m512i lanes_[kInPlace ? 1 : kSize];
};

template <int kSize, int... kSteps>
inline __m512 sum_up(
    const Spreader<kSize>& spreader, __m512 row, const __m512* matrix, std::integer_sequence<int, kSteps...>) {
  __m512 sum = _mm512_mul_ps(spreader.template spread<0>(row), matrix[0]);
  ((sum = _mm512_add_ps(sum, _mm512_mul_ps(spreader.template spread<kSteps + 1>(row), matrix[kSteps + 1]))), ...);
  return sum;
}

template <int kSize>
void packed_right(const Blocks<float>& blocks) {
  const RowLoader<kSize> loader(blocks);
  const Spreader<kSize> spreader;
  __m512 matrix[kSize];
  for (int k = 0; k < kSize; ++k) matrix[k] = _mm512_loadu_ps(blocks.matrices + k * kLanes);
  for (int64_t t = 0; t < blocks.planes; ++t) {
    const float* from = blocks.from[t];
    float* to = blocks.to[t] + blocks.to_offset;
    for (int64_t i = 0; i < blocks.height; ++i, from += blocks.from_pitch, to += blocks.to_pitch) {
      const __m512 sum = sum_up(spreader, loader.load(from), matrix, std::make_integer_sequence<int, kSize - 1>());
      _mm512_mask_storeu_ps(to, loader.all(), sum);
    }
  }
}

/// One block: each element is repeated over a vector by the load that fetches it.
template <int kSize>
void single_right(const Blocks<float>& blocks) {
  __m512 matrix[kSize];
  for (int k = 0; k < kSize; ++k) matrix[k] = _mm512_loadu_ps(blocks.matrices + k * kLanes);
  for (int64_t t = 0; t < blocks.planes; ++t) {
    const float* from = blocks.from[t] + blocks.offsets[0];
    float* to = blocks.to[t] + blocks.to_offset;
    for (int64_t i = 0; i < blocks.height; ++i, from += blocks.from_pitch, to += blocks.to_pitch) {
      __m512 sum = _mm512_mul_ps(_mm512_set1_ps(from[0]), matrix[0]);
#pragma GCC unroll 16
      for (int k = 1; k < kSize; ++k) sum = _mm512_add_ps(sum, _mm512_mul_ps(_mm512_set1_ps(from[k]), matrix[k]));
      _mm512_mask_storeu_ps(to, first_lanes(kSize), sum);
    }
  }
}

template <int kSize>
Multiplier<float> small() {
  constexpr auto multiply = kSize <= 8 ? packed_right<kSize> : single_right<kSize>;
  return {kLanes / kSize, kSize * kLanes, pack_rows<kSize>, multiply};
}

Multiplier<float> small_of(int64_t size) {
  constexpr Multiplier<float> (*kAll[kOrderedSumLimit])() = {
      small<1>, small<2>,  small<3>,  small<4>,  small<5>,  small<6>,  small<7>,  small<8>,
      small<9>, small<10>, small<11>, small<12>, small<13>, small<14>, small<15>, small<16>};
  return kAll[size - 1]();
}

}  // namespace

template <>
Multiplier<float> avx512_multiplier(int64_t size, bool left) {
  if (size > kOrderedSumLimit) return fused_panels<SixteenFloats, float>(size, left);
  return left ? ordered_loops<float>(size, left) : small_of(size);
}

template <>
Multiplier<double> avx512_multiplier(int64_t size, bool left) {
  return size <= kOrderedSumLimit ? ordered_loops<double>(size, left) : fused_panels<EightDoubles, double>(size, left);
}

}  // namespace torchprotect::cpu
