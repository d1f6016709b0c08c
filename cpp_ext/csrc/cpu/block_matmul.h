// Products of blocks and matrices: one interface, compiled once for each level of instructions.
#pragma once

#include <cstdint>

#include "../image.h"

namespace torchprotect::cpu {

/// Other work to be done in small steps between products: memory then moves while the core computes.
struct Between {
  void (*step)(void* work, int64_t bytes);  // `bytes` of the result were made
  void* work;

  void operator()(int64_t bytes) const { step(work, bytes); }
};

/// Neighbouring blocks in several planes, each times a matrix of its own. Strides in elements.
template <class Scalar>
struct Blocks {
  int64_t planes, blocks, height, width;
  const Scalar* const* from;  // for each plane
  const int64_t* offsets;     // for each block
  int64_t from_pitch;
  Scalar* const* to;  // for each plane; `to_offset` from there the first block, the others beside it
  int64_t to_offset, to_pitch;
  const Scalar* matrices;  // as `pack` left them
  Between between;         // called after every few rows, where the work for a row takes long
};

/// A way to multiply by matrices of one size. Up to kOrderedSumLimit sums run over k in order, and every product and
/// sum is rounded; above, products and sums may be fused.
template <class Scalar>
struct Multiplier {
  int64_t blocks;       // worked on together
  int64_t packed_size;  // elements that the matrices of so many blocks take when packed
  /// Arrange the matrices of `count` blocks, each `size x size`, for `multiply`.
  void (*pack)(const Scalar* const* matrices, int64_t count, int64_t size, Scalar* packed);
  void (*multiply)(const Blocks<Scalar>& blocks);
};

/// The multipliers of each level.
template <class Scalar>
Multiplier<Scalar> portable_multiplier(int64_t size, bool left);
#if defined(__x86_64__)
template <class Scalar>
Multiplier<Scalar> avx2_multiplier(int64_t size, bool left);
template <class Scalar>
Multiplier<Scalar> avx512_multiplier(int64_t size, bool left);
#endif

}  // namespace torchprotect::cpu
