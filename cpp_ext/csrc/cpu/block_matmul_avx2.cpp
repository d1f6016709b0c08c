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
