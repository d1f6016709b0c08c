// Multiplying blocks by matrices: the work of one thread.
//
// Up to kOrderedSumLimit, sums start from the first product and run in order, and every product and sum is rounded: the
// bits of the reference. Above it, products and sums are fused.
#pragma once

#include <cmath>

#include "indexing.h"
#include "memory.h"

namespace torchprotect::cuda {

// nvcc may fuse `a * b + c`, but none of these; other compilers need -ffp-contract=off.
#if defined(__CUDA_ARCH__)
#define TORCHPROTECT_ROUNDED(rounded, plain) rounded
#else
#define TORCHPROTECT_ROUNDED(rounded, plain) plain
#endif
TORCHPROTECT_HD inline float product(float a, float b) { return TORCHPROTECT_ROUNDED(__fmul_rn(a, b), a * b); }
TORCHPROTECT_HD inline double product(double a, double b) { return TORCHPROTECT_ROUNDED(__dmul_rn(a, b), a * b); }
TORCHPROTECT_HD inline float sum(float a, float b) { return TORCHPROTECT_ROUNDED(__fadd_rn(a, b), a + b); }
TORCHPROTECT_HD inline double sum(double a, double b) { return TORCHPROTECT_ROUNDED(__dadd_rn(a, b), a + b); }
#undef TORCHPROTECT_ROUNDED

template <class T>
struct MatmulParams {
  View from, to;
  Origins<uint64_t> origins;
  const char* matrices;
  int64_t matrix_channels, size;  // size: rows of a matrix
  int64_t height, width;          // of a block
  bool left;

  explicit MatmulParams(const MatmulTask& task)
      : from(task.image), to(task.out), origins(task.order, task.grid),
        matrices(static_cast<const char*>(task.matrices.data)), matrix_channels(task.matrices.channels),
        size(task.matrices.size), height(task.grid.height), width(task.grid.width), left(task.left) {}

  /// The matrix for a position of the image.
  TORCHPROTECT_HD const char* matrix(uint64_t position, uint64_t channel) const {
    return matrices + (position * matrix_channels + (matrix_channels > 1 ? channel : 0)) * size * size * sizeof(T);
  }
};

// Small matrices of floats
//
// A thread keeps one column in registers, of its matrix or, from the left, of an image's block, and
// multiplies it by rows: of blocks, or of its matrix. Each product of row and column is one number of the result. Lanes
// share rows, and write neighbouring numbers.

struct ColumnParams : MatmulParams<float> {
  Cells<uint64_t> cells;  // rows: of blocks; columns: of the image; outer: groups of images
  Divisor<uint64_t> by_width;
  int64_t images;  // of a group

  /// `enough` threads fill any device; with more work, threads take groups of images.
  explicit ColumnParams(const MatmulTask& task, int64_t enough = int64_t{1} << 19)
      : MatmulParams(task), by_width(width) {
    const int64_t threads = to.outer * to.channels * task.grid.rows * to.width;
    images = std::min<int64_t>(std::max<int64_t>(threads / enough, 1), 16);
    cells = Cells<uint64_t>((to.outer + images - 1) / images, to.channels, task.grid.rows, to.width, false);
  }

  /// Bytes of a load from rows of this many numbers.
  TORCHPROTECT_HD static constexpr int row_piece(int size) { return size % 4 == 0 ? 16 : size % 2 == 0 ? 8 : 4; }

  /// Whether this way is possible; `TileParams` always is.
  static bool fits(const MatmulTask& task) {
    const View from(task.image), to(task.out);
    const int64_t size = task.matrices.size, aligned = task.left ? address(task.matrices.data) : row_alignment(from);
    return from.item == 4 && size <= kOrderedSumLimit && from.has_rows() && to.has_rows() &&
           widest(aligned) >= row_piece(static_cast<int>(size));
  }

 private:
  static int64_t address(const void* data) { return static_cast<int64_t>(reinterpret_cast<uintptr_t>(data)); }
};

/// Read `kSize` contiguous floats.
template <int kSize>
TORCHPROTECT_HD inline void load_row(const char* from, float* row) {
  constexpr int kPiece = ColumnParams::row_piece(kSize);
  TORCHPROTECT_UNROLL
  for (int i = 0; i < kSize; i += kPiece / 4) {
    Chunk chunk;
    Piece<kPiece>::load(from + 4 * i, chunk, 0);
    TORCHPROTECT_UNROLL
    for (int j = 0; j < kPiece / 4; ++j) row[i + j] = as_float(chunk.word[j]);
  }
}

template <int kSize>
TORCHPROTECT_HD inline void load_column(const char* from, int64_t step, float* column) {
  TORCHPROTECT_UNROLL
  for (int k = 0; k < kSize; ++k) column[k] = load<float>(from + k * step);
}

template <int kSize>
TORCHPROTECT_HD inline float ordered_sum(const float* row, const float* column) {
  float total = product(row[0], column[0]);
  TORCHPROTECT_UNROLL
  for (int k = 1; k < kSize; ++k) total = sum(total, product(row[k], column[k]));
  return total;
}

/// Write `rows` numbers below each other, each from a row at `from` against the column.
template <int kSize>
TORCHPROTECT_HD inline void run_rows(
    const char* from, int64_t from_step, const float* column, char* to, int64_t to_step, int64_t rows) {
  TORCHPROTECT_UNROLL_BY_4
  for (int64_t y = 0; y < rows; ++y) {
    float row[kSize];
    load_row<kSize>(from + y * from_step, row);
    store(to + y * to_step, ordered_sum<kSize>(row, column));
  }
}

/// Make column `index` of blocks: one pixel wide, one block high, for a group of images.
template <int kSize, bool kLeft>
TORCHPROTECT_HD inline void multiply_column(const ColumnParams& params, int64_t index) {
  const Cell<uint64_t> cell = params.cells.at(index);
  const auto x = params.by_width.split(cell.column);
  const Origin<uint64_t> origin = params.origins.of(cell.row, x.quotient);
  const int64_t first = cell.outer * params.images, last = lesser(first + params.images, params.to.outer);
  const int64_t from_row = origin.row * params.height, from_column = origin.column * params.width;
  const char* matrix = params.matrix(origin.position, cell.channel);
  float column[kSize];
  if (!kLeft && origin.found) load_column<kSize>(matrix + 4 * x.remainder, 4 * kSize, column);
  for (int64_t n = first; n < last; ++n) {
    char* to = params.to.at(n, cell.channel, cell.row * params.height, cell.column);
    const char* from = params.from.at(n, cell.channel, from_row, from_column + (kLeft ? x.remainder : 0));
    if (!origin.found) {
      for (int64_t y = 0; y < params.height; ++y) store(to + y * params.to.row_step, 0.0f);
    } else if (kLeft) {
      load_column<kSize>(from, params.from.row_step, column);
      run_rows<kSize>(matrix, 4 * kSize, column, to, params.to.row_step, kSize);
    } else {
      run_rows<kSize>(from, params.from.row_step, column, to, params.to.row_step, params.height);
    }
  }
}

// Any matrices, any strides
//
// A thread computes a tile of a block of the result. Rows and columns of the tile are spread over the block, so that
// lanes read and write neighbouring numbers.

template <class T>
struct TileParams : MatmulParams<T> {
  Cells<uint64_t> cells;  // rows, columns: tiles, block after block
  Divisor<uint64_t> by_rows, by_columns;
  int64_t tile_rows, tile_columns;  // tiles of a block: also from a row of a tile to its next

  TileParams(const MatmulTask& task, int rows, int columns)
      : MatmulParams<T>(task), tile_rows((this->height + rows - 1) / rows),
        tile_columns((this->width + columns - 1) / columns) {
    by_rows = Divisor<uint64_t>(tile_rows);
    by_columns = Divisor<uint64_t>(tile_columns);
    cells = Cells<uint64_t>(
        this->to.outer, this->to.channels, task.grid.rows * tile_rows, task.grid.columns * tile_columns,
        this->to.channels_last());
  }
};

/// One side of a product: where its lines (rows of the left factor, columns of the right one) begin, and their steps.
struct Factor {
  const char* data;
  int64_t line_step, step;
};

/// The sums of `kRows` rows of `a` against `kColumns` columns of `b`.
template <class T, int kRows, int kColumns, bool kOrdered>
TORCHPROTECT_HD inline void multiply_lines(
    const Factor& a, const int64_t* rows, const Factor& b, const int64_t* columns, int64_t size,
    T (*totals)[kColumns]) {
  TORCHPROTECT_UNROLL_BY_2  // more would reduce the number of threads too much
      for (int64_t k = 0; k < size; ++k) {
    T row[kRows], column[kColumns];
    TORCHPROTECT_UNROLL
    for (int i = 0; i < kRows; ++i) row[i] = load<T>(a.data + rows[i] * a.line_step + k * a.step);
    TORCHPROTECT_UNROLL
    for (int j = 0; j < kColumns; ++j) column[j] = load<T>(b.data + columns[j] * b.line_step + k * b.step);
    TORCHPROTECT_UNROLL
    for (int i = 0; i < kRows; ++i) {
      TORCHPROTECT_UNROLL
      for (int j = 0; j < kColumns; ++j) {
        if (!kOrdered) {
          totals[i][j] = std::fma(row[i], column[j], totals[i][j]);
        } else {
          const T term = product(row[i], column[j]);
          totals[i][j] = k == 0 ? term : sum(totals[i][j], term);
        }
      }
    }
  }
}

/// Compute tile `index` of the result.
template <class T, int kRows, int kColumns, bool kOrdered>
TORCHPROTECT_HD inline void multiply_tile(const TileParams<T>& params, int64_t index) {
  const Cell<uint64_t> cell = params.cells.at(index);
  const auto row = params.by_rows.split(cell.row), column = params.by_columns.split(cell.column);
  const Origin<uint64_t> origin = params.origins.of(row.quotient, column.quotient);
  int64_t rows[kRows], columns[kColumns];  // those beyond the block repeat its last, and are not written
  TORCHPROTECT_UNROLL
  for (int i = 0; i < kRows; ++i) rows[i] = lesser(row.remainder + i * params.tile_rows, params.height - 1);
  TORCHPROTECT_UNROLL
  for (int j = 0; j < kColumns; ++j) columns[j] = lesser(column.remainder + j * params.tile_columns, params.width - 1);
  T totals[kRows][kColumns] = {};
  if (origin.found) {
    const char* block =
        params.from.at(cell.outer, cell.channel, origin.row * params.height, origin.column * params.width);
    const char* matrix = params.matrix(origin.position, cell.channel);
    const int64_t item = sizeof(T), line = params.size * item;
    const Factor a =
        params.left ? Factor{matrix, line, item} : Factor{block, params.from.row_step, params.from.column_step};
    const Factor b =
        params.left ? Factor{block, params.from.column_step, params.from.row_step} : Factor{matrix, item, line};
    multiply_lines<T, kRows, kColumns, kOrdered>(a, rows, b, columns, params.size, totals);
  }
  char* to = params.to.at(cell.outer, cell.channel, row.quotient * params.height, column.quotient * params.width);
  TORCHPROTECT_UNROLL
  for (int i = 0; i < kRows; ++i) {
    TORCHPROTECT_UNROLL
    for (int j = 0; j < kColumns; ++j) {
      const bool inside = int64_t(row.remainder) + i * params.tile_rows < params.height &&
                          int64_t(column.remainder) + j * params.tile_columns < params.width;
      if (inside) store(to + rows[i] * params.to.row_step + columns[j] * params.to.column_step, totals[i][j]);
    }
  }
}

template <int kSize, bool kLeft>
struct ColumnWay {
  TORCHPROTECT_HD static void run(const ColumnParams& params, int64_t index) {
    multiply_column<kSize, kLeft>(params, index);
  }
};

template <class T, int kRows, int kColumns, bool kOrdered>
struct TileWay {
  TORCHPROTECT_HD static void run(const TileParams<T>& params, int64_t index) {
    multiply_tile<T, kRows, kColumns, kOrdered>(params, index);
  }
};

/// Call `start(way, params)`: finds the way for a matrix size by counting down.
template <int kSize, class Start>
void choose_columns(const ColumnParams& params, const Start& start) {
  if constexpr (kSize > 1) {
    if (params.size < kSize) return choose_columns<kSize - 1>(params, start);
  }
  if (params.left) return start(ColumnWay<kSize, true>(), params);
  start(ColumnWay<kSize, false>(), params);
}

template <class T, class Start>
void choose_tiles(const MatmulTask& task, const Start& start) {
  constexpr int kRows = 4, kColumns = 16 / sizeof(T);  // more doubles would take too many registers
  if (task.matrices.size <= kOrderedSumLimit) {
    start(TileWay<T, kRows, 1, true>(), TileParams<T>(task, kRows, 1));
  } else {
    start(TileWay<T, kRows, kColumns, false>(), TileParams<T>(task, kRows, kColumns));
  }
}

template <class Start>
void choose_way(const MatmulTask& task, const Start& start) {
  if (ColumnParams::fits(task)) return choose_columns<kOrderedSumLimit>(ColumnParams(task), start);
  if (task.image.item == 4) return choose_tiles<float>(task, start);
  choose_tiles<double>(task, start);
}

}  // namespace torchprotect::cuda
