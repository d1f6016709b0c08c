// From a thread's index to an index in the result, and to the block of the image that belongs there.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../image.h"
#include "host_device.h"
#include "memory.h"

namespace torchprotect::cuda {

/// `std::min`, which device code must not call.
TORCHPROTECT_HD constexpr int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

TORCHPROTECT_HD inline uint32_t upper_product(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>(uint64_t{a} * b >> 32);
}

TORCHPROTECT_HD inline uint64_t upper_product(uint64_t a, uint64_t b) {
#if defined(__CUDA_ARCH__)
  return __umul64hi(a, b);
#else
  return static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b >> 64);
#endif
}

template <class Word>
struct Parts {
  Word quotient, remainder;
};

/// Division by a number known before the launch, as a multiplication: a GPU has no instruction to divide integers.
///
/// With N bits to a dividend (one less than a Word has) and 2^(l-1) < divisor <= 2^l, the factor is 2^(N+l) / divisor,
/// rounded up. It fits a Word, and is at most 2^l / divisor too large for 2^-N of a dividend: the quotient is exact.
template <class Word>
class Divisor {
 public:
  Divisor() = default;
  explicit Divisor(int64_t divisor) : divisor_(static_cast<Word>(divisor)) {
    int log = 0;
    while (log < kBits && (int64_t{1} << log) < divisor) ++log;
    if (log == 0) return;  // by 1
    const auto power = static_cast<unsigned __int128>(1) << (kBits + log);
    factor_ = static_cast<Word>((power + divisor_ - 1) / divisor_);
    shift_ = log - 1;
  }

  /// Exact for dividends below 2^31 (of 32 bits) or 2^63 (of 64).
  TORCHPROTECT_HD Parts<Word> split(Word dividend) const {
    const Word quotient = divisor_ == 1 ? dividend : upper_product(dividend, factor_) >> shift_;
    return {quotient, dividend - quotient * divisor_};
  }

 private:
  static constexpr int kBits = 8 * sizeof(Word) - 1;
  Word divisor_ = 1, factor_ = 0;
  int shift_ = 0;
};

template <class Word>
struct Cell {
  Word outer, channel, row, column;
};

/// A loop over [outer, channels, rows, columns], or [outer, rows, columns, channels]: neighbours in it should be
/// neighbours in memory too.
template <class Word>
struct Cells {
  int64_t count = 0;
  bool channels_last = false;
  Divisor<Word> channels, rows, columns;

  Cells() = default;
  Cells(int64_t outer, int64_t channel_count, int64_t row_count, int64_t column_count, bool last)
      : count(outer * channel_count * row_count * column_count), channels_last(last), channels(channel_count),
        rows(row_count), columns(column_count) {}

  TORCHPROTECT_HD Cell<Word> at(Word index) const {
    Word channel = 0;
    if (channels_last) {
      const Parts<Word> by_channel = channels.split(index);
      index = by_channel.quotient;
      channel = by_channel.remainder;
    }
    const Parts<Word> by_column = columns.split(index), by_row = rows.split(by_column.quotient);
    Word outer = by_row.quotient;
    if (!channels_last) {
      const Parts<Word> by_channel = channels.split(outer);
      outer = by_channel.quotient;
      channel = by_channel.remainder;
    }
    return {outer, channel, by_row.remainder, by_column.remainder};
  }
};

/// Where a block of the result comes from; nowhere if the order's entry is out of range.
template <class Word>
struct Origin {
  bool found;
  Word position, row, column;
};

template <class Word>
struct Origins {
  const int64_t* order = nullptr;  // or null: blocks are not permuted
  int64_t positions = 0;
  Word column_count = 0;
  Divisor<Word> columns;

  Origins() = default;
  Origins(const int64_t* given, const Grid& grid)
      : order(given), positions(grid.positions()), column_count(static_cast<Word>(grid.columns)),
        columns(grid.columns) {}

  TORCHPROTECT_HD Origin<Word> of(Word row, Word column) const {
    const Word place = row * column_count + column;
    if (order == nullptr) return {true, place, row, column};
    const auto position = load<int64_t>(order + place);
    if (position < 0 || position >= positions) return {false, 0, 0, 0};
    const Parts<Word> parts = columns.split(static_cast<Word>(position));
    return {true, static_cast<Word>(position), parts.quotient, parts.remainder};
  }
};

/// An image with steps in bytes, so that elements can be merged or cut.
struct View {
  char* data = nullptr;
  int64_t item = 0, outer = 0, channels = 0, height = 0, width = 0;
  int64_t outer_step = 0, channel_step = 0, row_step = 0, column_step = 0;

  View() = default;
  explicit View(const Image& image)
      : data(static_cast<char*>(image.data)), item(image.item), outer(image.outer), channels(image.channels),
        height(image.height), width(image.width), outer_step(image.outer_stride * item),
        channel_step(image.channel_stride * item), row_step(image.row_stride * item),
        column_step(image.column_stride * item) {}

  TORCHPROTECT_HD char* at(int64_t n, int64_t c, int64_t y, int64_t x) const {
    return data + n * outer_step + c * channel_step + y * row_step + x * column_step;
  }

  int64_t row_bytes() const { return width * item; }
  /// Whether the pixels of a row are contiguous.
  bool has_rows() const { return width == 1 || column_step == item; }
  /// Whether channels have a smaller stride than columns.
  bool channels_last() const { return channels > 1 && width > 1 && channel_step < column_step; }
  /// Whether the channels of a pixel are contiguous, and the pixels of a row too.
  bool has_pixels() const {
    return channels > 1 && channel_step == item && (width == 1 || column_step == channels * item);
  }
  /// Treat all channels of a pixel as one larger element.
  void merge_channels() { item *= channels, column_step = item, channels = 1, channel_step = 0; }
};

/// The widest of 16, 8, 4, 2 and 1 bytes that divides `bytes`.
inline int64_t widest(int64_t bytes) {
  const int64_t low = bytes & -bytes;
  return low == 0 || low > 16 ? 16 : low;
}

/// Number of bytes that can be copied at once from the start of every row.
inline int64_t row_alignment(const View& view) {
  auto steps = static_cast<int64_t>(reinterpret_cast<uintptr_t>(view.data));
  if (view.outer > 1) steps |= view.outer_step;
  if (view.channels > 1) steps |= view.channel_step;
  if (view.height > 1) steps |= view.row_step;
  return widest(steps);
}

/// Number of bytes that can be copied at once from the start of every element, all of one element.
inline int64_t element_alignment(const View& view) {
  return std::min({row_alignment(view), widest(view.width > 1 ? view.column_step : 0), widest(view.item)});
}

}  // namespace torchprotect::cuda
