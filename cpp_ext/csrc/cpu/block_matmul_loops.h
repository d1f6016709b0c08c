// Loops that the compiler vectorises, for the instruction level of the file that includes them.
// All is in an unnamed namespace, so that code for one level is never linked into another.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "aligned.h"
#include "block_matmul.h"

namespace torchprotect::cpu {
namespace {

template <class Scalar>
void keep_as_it_is(const Scalar* const* matrices, int64_t, int64_t size, Scalar* packed) {
  std::memcpy(packed, matrices[0], size * size * sizeof(Scalar));
}

/// `y = x R`, `kSize` columns, row by row.
template <class Scalar, int kSize>
void ordered_right(const Blocks<Scalar>& blocks) {
  Scalar matrix[kSize][kSize];
  std::memcpy(matrix, blocks.matrices, sizeof matrix);
  for (int64_t t = 0; t < blocks.planes; ++t) {
    const Scalar* from = blocks.from[t] + blocks.offsets[0];
    Scalar* to = blocks.to[t] + blocks.to_offset;
    for (int64_t i = 0; i < blocks.height; ++i, from += blocks.from_pitch, to += blocks.to_pitch) {
      Scalar sums[kSize];
      for (int j = 0; j < kSize; ++j) sums[j] = from[0] * matrix[0][j];
      for (int k = 1; k < kSize; ++k) {
        for (int j = 0; j < kSize; ++j) sums[j] = sums[j] + from[k] * matrix[k][j];
      }
      std::memcpy(to, sums, sizeof sums);
    }
  }
}

/// `y = R x`: rows of `x`, a piece of them at a time.
template <class Scalar>
void ordered_left(const Blocks<Scalar>& blocks) {
  constexpr int64_t kPiece = 16;
  const int64_t size = blocks.height;
  for (int64_t t = 0; t < blocks.planes; ++t) {
    for (int64_t first = 0; first < blocks.width; first += kPiece) {
      const Scalar* from = blocks.from[t] + blocks.offsets[0] + first;
      Scalar* to = blocks.to[t] + blocks.to_offset + first;
      const int64_t count = std::min(kPiece, blocks.width - first);
      for (int64_t i = 0; i < size; ++i, to += blocks.to_pitch) {
        const Scalar* row = blocks.matrices + i * size;
        Scalar sums[kPiece];
        for (int64_t j = 0; j < count; ++j) sums[j] = row[0] * from[j];
        for (int64_t k = 1; k < size; ++k) {
          for (int64_t j = 0; j < count; ++j) sums[j] = sums[j] + row[k] * from[k * blocks.from_pitch + j];
        }
        std::memcpy(to, sums, count * sizeof(Scalar));
      }
    }
  }
}

template <class Scalar>
Multiplier<Scalar> ordered_loops(int64_t size, bool left) {
  using Multiply = void (*)(const Blocks<Scalar>&);
  constexpr Multiply kRight[kOrderedSumLimit] = {
      ordered_right<Scalar, 1>,  ordered_right<Scalar, 2>,  ordered_right<Scalar, 3>,  ordered_right<Scalar, 4>,
      ordered_right<Scalar, 5>,  ordered_right<Scalar, 6>,  ordered_right<Scalar, 7>,  ordered_right<Scalar, 8>,
      ordered_right<Scalar, 9>,  ordered_right<Scalar, 10>, ordered_right<Scalar, 11>, ordered_right<Scalar, 12>,
      ordered_right<Scalar, 13>, ordered_right<Scalar, 14>, ordered_right<Scalar, 15>, ordered_right<Scalar, 16>};
  return {1, size * size, keep_as_it_is<Scalar>, left ? ordered_left<Scalar> : kRight[size - 1]};
}

// Large matrices. The right factor is cut into panels, two vectors wide and padded with zeros, whose rows follow each
// other; some rows of the left factor are multiplied by a panel at a time, their sums in registers.

template <class Vector>
constexpr int64_t kPanel = 2 * Vector::kWidth;

template <class Vector, class Scalar>
void pack_panels(const Scalar* from, int64_t pitch, int64_t rows, int64_t columns, Scalar* panels) {
  constexpr int64_t kWide = kPanel<Vector>;
  for (int64_t first = 0; first < columns; first += kWide) {
    const int64_t count = std::min(kWide, columns - first);
    for (int64_t k = 0; k < rows; ++k, panels += kWide) {
      std::memcpy(panels, from + k * pitch + first, count * sizeof(Scalar));
      std::fill(panels + count, panels + kWide, Scalar(0));
    }
  }
}

template <class Vector>
constexpr int64_t panels_size(int64_t rows, int64_t columns) {
  return (columns + kPanel<Vector> - 1) / kPanel<Vector> * kPanel<Vector> * rows;
}

template <class Scalar>
struct Row {
  const Scalar* from;
  Scalar* to;
};

/// Call `work` with 0, 1, .. as constants: an array that is indexed by nothing else stays in registers.
template <class Work, size_t... kSteps>
inline void unrolled(const Work& work, std::index_sequence<kSteps...>) {
  (work(std::integral_constant<size_t, kSteps>()), ...);
}

template <class Vector, class Scalar>
inline void store_row(Scalar* to, typename Vector::Type low, typename Vector::Type high) {
  Vector::store(to, low);
  Vector::store(to + Vector::kWidth, high);
}

template <class Vector, class Scalar>
inline void store_first(Scalar* to, typename Vector::Type low, typename Vector::Type high, int64_t count) {
  Vector::store_first(to, low, std::min(count, Vector::kWidth));
  if (count > Vector::kWidth) Vector::store_first(to + Vector::kWidth, high, count - Vector::kWidth);
}

/// `kRows` rows by one panel.
template <class Vector, int kRows, class Scalar>
inline void multiply_rows(const Row<Scalar>* rows, const Scalar* panel, int64_t depth, int64_t first, int64_t count) {
  constexpr auto kEach = std::make_index_sequence<kRows>();
  typename Vector::Type low[kRows], high[kRows];
  const Scalar* from[kRows];
  unrolled([&](auto r) { low[r] = high[r] = Vector::zero(), from[r] = rows[r].from; }, kEach);
  for (int64_t k = 0; k < depth; ++k, panel += kPanel<Vector>) {
    const auto left = Vector::load(panel), right = Vector::load(panel + Vector::kWidth);
    unrolled(
        [&](auto r) {
          const auto factor = Vector::repeat(from[r][k]);
          low[r] = Vector::add_product(low[r], factor, left);
          high[r] = Vector::add_product(high[r], factor, right);
        },
        kEach);
  }
  if (count == kPanel<Vector>) {
    unrolled([&](auto r) { store_row<Vector>(rows[r].to + first, low[r], high[r]); }, kEach);
  } else {
    unrolled([&](auto r) { store_first<Vector>(rows[r].to + first, low[r], high[r], count); }, kEach);
  }
}

/// Rows of the left factor that are multiplied by one panel after the other while they are in the first cache.
constexpr int64_t kRowsTogether = 128;

template <class Vector, class Scalar>
class Rows {
 public:
  Rows(const Scalar* panels, int64_t depth, int64_t columns, const Between& between)
      : panels_(panels), depth_(depth), columns_(columns), between_(between) {}

  void add(const Scalar* from, Scalar* to) {
    rows_[count_++] = {from, to};
    if (count_ == kRowsTogether) multiply();
  }

  /// Multiply the rows that were added.
  void multiply() {
    constexpr int kRows = Vector::kRows, kFew = kRows / 2;
    const Scalar* panel = panels_;
    for (int64_t first = 0; first < columns_; first += kPanel<Vector>, panel += depth_ * kPanel<Vector>) {
      const int64_t wide = std::min(kPanel<Vector>, columns_ - first);
      int64_t r = 0;
      for (; r + kRows <= count_; r += kRows) {
        multiply_rows<Vector, kRows>(rows_ + r, panel, depth_, first, wide);
        between_(kRows * wide * sizeof(Scalar));
      }
      for (; r + kFew <= count_; r += kFew) multiply_rows<Vector, kFew>(rows_ + r, panel, depth_, first, wide);
      for (; r < count_; ++r) multiply_rows<Vector, 1>(rows_ + r, panel, depth_, first, wide);
    }
    count_ = 0;
  }

 private:
  const Scalar* panels_;
  int64_t depth_, columns_;
  const Between& between_;
  int64_t count_ = 0;
  Row<Scalar> rows_[kRowsTogether];
};

template <class Vector, class Scalar>
void pack_matrix(const Scalar* const* matrices, int64_t, int64_t size, Scalar* packed) {
  pack_panels<Vector>(matrices[0], size, size, size, packed);
}

template <class Vector, class Scalar>
void fused_right(const Blocks<Scalar>& blocks) {
  Rows<Vector, Scalar> rows(blocks.matrices, blocks.width, blocks.width, blocks.between);
  for (int64_t t = 0; t < blocks.planes; ++t) {
    const Scalar* from = blocks.from[t] + blocks.offsets[0];
    Scalar* to = blocks.to[t] + blocks.to_offset;
    for (int64_t i = 0; i < blocks.height; ++i, from += blocks.from_pitch, to += blocks.to_pitch) rows.add(from, to);
  }
  rows.multiply();
}

template <class Vector, class Scalar>
void fused_left(const Blocks<Scalar>& blocks) {
  const int64_t size = blocks.height;
  AlignedVector<Scalar> panels(panels_size<Vector>(size, blocks.width));
  Rows<Vector, Scalar> rows(panels.data(), size, blocks.width, blocks.between);
  for (int64_t t = 0; t < blocks.planes; ++t) {
    pack_panels<Vector>(blocks.from[t] + blocks.offsets[0], blocks.from_pitch, size, blocks.width, panels.data());
    Scalar* to = blocks.to[t] + blocks.to_offset;
    for (int64_t i = 0; i < size; ++i) rows.add(blocks.matrices + i * size, to + i * blocks.to_pitch);
    rows.multiply();
  }
}

template <class Vector, class Scalar>
Multiplier<Scalar> fused_panels(int64_t size, bool left) {
  if (left) return {1, size * size, keep_as_it_is<Scalar>, fused_left<Vector, Scalar>};
  return {1, panels_size<Vector>(size, size), pack_matrix<Vector, Scalar>, fused_right<Vector, Scalar>};
}

}  // namespace
}  // namespace torchprotect::cpu
