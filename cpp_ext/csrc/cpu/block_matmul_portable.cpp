// Multipliers in plain C++.
#include "block_matmul_loops.h"

namespace torchprotect::cpu {
namespace {

template <class Scalar>
struct Plain {
  struct Type {
    Scalar lanes[4];
  };
  static constexpr int64_t kWidth = 4;
  static constexpr int kRows = 2;
  static Type zero() { return {}; }
  static Type load(const Scalar* from) {
    Type value;
    std::memcpy(value.lanes, from, sizeof value.lanes);
    return value;
  }
  static void store(Scalar* to, const Type& value) { std::memcpy(to, value.lanes, sizeof value.lanes); }
  static void store_first(Scalar* to, const Type& value, int64_t count) {
    std::memcpy(to, value.lanes, count * sizeof(Scalar));
  }
  static Type repeat(Scalar value) { return {{value, value, value, value}}; }
  static Type add_product(Type sum, const Type& a, const Type& b) {
    for (int i = 0; i < kWidth; ++i) sum.lanes[i] += a.lanes[i] * b.lanes[i];
    return sum;
  }
};

}  // namespace

template <class Scalar>
Multiplier<Scalar> portable_multiplier(int64_t size, bool left) {
  return size <= kOrderedSumLimit ? ordered_loops<Scalar>(size, left) : fused_panels<Plain<Scalar>, Scalar>(size, left);
}

template Multiplier<float> portable_multiplier(int64_t, bool);
template Multiplier<double> portable_multiplier(int64_t, bool);

}  // namespace torchprotect::cpu
