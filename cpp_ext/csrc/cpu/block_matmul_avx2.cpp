// Multipliers on 256 bits.
#include <immintrin.h>

#include "block_matmul_loops.h"

namespace torchprotect::cpu {
namespace {

struct EightFloats {
  using Type = __m256;
  static constexpr int64_t kWidth = 8;
  static constexpr int kRows = 4;
  static Type zero() { return _mm256_setzero_ps(); }
  static Type load(const float* from) { return _mm256_loadu_ps(from); }
  static void store(float* to, Type value) { _mm256_storeu_ps(to, value); }
  static void store_first(float* to, Type value, int64_t count) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_maskstore_ps(to, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lanes), value);
  }
  static Type repeat(float value) { return _mm256_set1_ps(value); }
  static Type add_product(Type sum, Type a, Type b) { return _mm256_fmadd_ps(a, b, sum); }
};

struct FourDoubles {
  using Type = __m256d;
  static constexpr int64_t kWidth = 4;
  static constexpr int kRows = 4;
  static Type zero() { return _mm256_setzero_pd(); }
  static Type load(const double* from) { return _mm256_loadu_pd(from); }
  static void store(double* to, Type value) { _mm256_storeu_pd(to, value); }
  static void store_first(double* to, Type value, int64_t count) {
    const __m256i lanes = _mm256_setr_epi64x(0, 1, 2, 3);
    _mm256_maskstore_pd(to, _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), lanes), value);
  }
  static Type repeat(double value) { return _mm256_set1_pd(value); }
  static Type add_product(Type sum, Type a, Type b) { return _mm256_fmadd_pd(a, b, sum); }
};

}  // namespace

template <>
Multiplier<float> avx2_multiplier(int64_t size, bool left) {
  return size <= kOrderedSumLimit ? ordered_loops<float>(size, left) : fused_panels<EightFloats, float>(size, left);
}

template <>
Multiplier<double> avx2_multiplier(int64_t size, bool left) {
  return size <= kOrderedSumLimit ? ordered_loops<double>(size, left) : fused_panels<FourDoubles, double>(size, left);
}

}  // namespace torchprotect::cpu
