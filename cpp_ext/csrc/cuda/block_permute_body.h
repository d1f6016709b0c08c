// Permuting blocks: the work of one thread. Types do not matter, so it copies bytes.
#pragma once

#include "indexing.h"
#include "memory.h"

namespace torchprotect::cuda {

/// How a permutation is divided among threads. Counts below `small` use 32 bits.
struct PermutePlan {
  View from, to;
  bool by_row;    // pixels of a row are contiguous: a thread writes some bytes of rows, otherwise of an element
  int64_t piece;  // bytes of a load: within one block, and aligned everywhere
  int64_t chunk;  // bytes of a store
  bool is_small;  // all counts are below `small`, in every unit

  explicit PermutePlan(const PermuteTask& task, int64_t small = int64_t{1} << 31) : from(task.image), to(task.out) {
    if (from.has_pixels() && to.has_pixels()) {
      from.merge_channels();
      to.merge_channels();
    }
    by_row = from.has_rows() && to.has_rows();
    const int64_t aligned = by_row ? row_alignment(to) : element_alignment(to);
    const int64_t source = by_row ? row_alignment(from) : element_alignment(from);
    piece = std::min({aligned, source, widest(by_row ? task.grid.width * to.item : to.item)});
    // at most four loads per store: with more, the lanes of a warp read too far apart
    const int64_t wide = std::min<int64_t>(4 * piece, 16);
    is_small = bytes() / piece < small && to.row_bytes() < small && task.grid.positions() < small;
    chunk = by_row && is_small && aligned >= wide && to.row_bytes() % wide == 0 ? wide : piece;
  }

  int64_t bytes() const { return to.outer * to.channels * to.height * to.row_bytes(); }
};

/// Rows of a block that one thread copies: computing their source costs more than copying one.
constexpr int kStackRows = 4;

template <class Word>
struct PermuteParams {
  View from, to;
  Cells<Word> cells;        // by row: stacks of `kStackRows` chunks; otherwise pieces of elements
  Word height, width, run;  // of a block, and the bytes of one of its rows
  Divisor<Word> by_stack, by_height, by_width, by_run, by_item;
  Origins<Word> origins;

  PermuteParams(const PermuteTask& task, const PermutePlan& plan)
      : from(plan.from), to(plan.to), height(static_cast<Word>(task.grid.height)),
        width(static_cast<Word>(task.grid.width)), run(static_cast<Word>(task.grid.width * to.item)), by_height(height),
        by_width(width), by_run(run), by_item(to.item / plan.piece), origins(task.order, task.grid) {
    const int64_t stacks = (task.grid.height + kStackRows - 1) / kStackRows;
    const int64_t rows = plan.by_row ? task.grid.rows * stacks : to.height;
    by_stack = Divisor<Word>(stacks);
    cells = Cells<Word>(to.outer, to.channels, rows, to.row_bytes() / plan.chunk, to.channels_last());
  }
};

/// Move stack `index`: `kChunk` bytes of up to `kStackRows` rows of one row of blocks, in pieces of `kPiece`.
template <int kPiece, int kChunk, class Word>
TORCHPROTECT_HD inline void permute_stack(const PermuteParams<Word>& params, Word index) {
  constexpr int kPieces = kChunk / kPiece;
  const Cell<Word> cell = params.cells.at(index);
  const Parts<Word> stack = params.by_stack.split(cell.row), x = params.by_run.split(cell.column * kChunk);
  const Word first = stack.remainder * kStackRows;
  const int rows = static_cast<int>(lesser(params.height - first, kStackRows));
  const char* from[kPieces];  // null: no source, write zeros
  Word block = x.quotient, within = x.remainder;
  Origin<Word> origin = params.origins.of(stack.quotient, block);
  TORCHPROTECT_UNROLL
  for (int i = 0; i < kPieces; ++i, within += kPiece) {
    if (i > 0 && within == params.run) {
      within = 0;
      origin = params.origins.of(stack.quotient, ++block);
    }
    const int64_t row = int64_t(origin.row) * params.height + first;
    const int64_t offset = int64_t(origin.column) * params.run + within;
    from[i] = origin.found ? params.from.at(cell.outer, cell.channel, row, 0) + offset : nullptr;
  }
  Chunk chunks[kStackRows];
  TORCHPROTECT_UNROLL
  for (int y = 0; y < kStackRows; ++y) {
    TORCHPROTECT_UNROLL
    for (int i = 0; i < kPieces; ++i) {
      if (y < rows && from[i]) Piece<kPiece>::load(from[i] + y * params.from.row_step, chunks[y], i * kPiece);
    }
  }
  const int64_t row = int64_t(stack.quotient) * params.height + first;
  char* to = params.to.at(cell.outer, cell.channel, row, 0) + int64_t(cell.column) * kChunk;
  TORCHPROTECT_UNROLL
  for (int y = 0; y < kStackRows; ++y) {
    if (y < rows) Piece<kChunk>::store(to + y * params.to.row_step, chunks[y], 0);
  }
}

/// Move piece `index` of the result's elements, whatever the strides.
template <int kPiece, class Word>
TORCHPROTECT_HD inline void permute_element(const PermuteParams<Word>& params, Word index) {
  const Cell<Word> cell = params.cells.at(index);
  const Parts<Word> part = params.by_item.split(cell.column), y = params.by_height.split(cell.row);
  const Parts<Word> x = params.by_width.split(part.quotient);
  const Origin<Word> origin = params.origins.of(y.quotient, x.quotient);
  const int64_t offset = int64_t(part.remainder) * kPiece;
  Chunk chunk;
  if (origin.found) {
    const int64_t row = int64_t(origin.row) * params.height + y.remainder;
    const int64_t column = int64_t(origin.column) * params.width + x.remainder;
    Piece<kPiece>::load(params.from.at(cell.outer, cell.channel, row, column) + offset, chunk, 0);
  }
  Piece<kPiece>::store(params.to.at(cell.outer, cell.channel, cell.row, part.quotient) + offset, chunk, 0);
}

template <int kPiece, int kChunk, bool kByRow, class Word>
struct PermuteWay {
  TORCHPROTECT_HD static void run(const PermuteParams<Word>& params, int64_t index) {
    if constexpr (kByRow) {
      permute_stack<kPiece, kChunk>(params, static_cast<Word>(index));
    } else {
      permute_element<kPiece>(params, static_cast<Word>(index));
    }
  }
};

/// Call `start(way, params)` with the way that a plan chooses.
template <int kPiece, class Start>
void choose_chunk(const PermuteTask& task, const PermutePlan& plan, const Start& start) {
  constexpr int kWide = kPiece < 4 ? 4 * kPiece : 16;
  if (!plan.by_row) {
    start(PermuteWay<kPiece, kPiece, false, uint64_t>(), PermuteParams<uint64_t>(task, plan));
  } else if (!plan.is_small) {
    start(PermuteWay<kPiece, kPiece, true, uint64_t>(), PermuteParams<uint64_t>(task, plan));
  } else if (plan.chunk == kWide) {
    start(PermuteWay<kPiece, kWide, true, uint32_t>(), PermuteParams<uint32_t>(task, plan));
  } else {
    start(PermuteWay<kPiece, kPiece, true, uint32_t>(), PermuteParams<uint32_t>(task, plan));
  }
}

template <class Start>
void choose_way(const PermuteTask& task, const PermutePlan& plan, const Start& start) {
  switch (plan.piece) {
    case 1: return choose_chunk<1>(task, plan, start);
    case 2: return choose_chunk<2>(task, plan, start);
    case 4: return choose_chunk<4>(task, plan, start);
    case 8: return choose_chunk<8>(task, plan, start);
    default: return choose_chunk<16>(task, plan, start);
  }
}

}  // namespace torchprotect::cuda
