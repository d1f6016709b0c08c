// An image as the kernels see it, and the grid of blocks over it.
#pragma once

#include <cstdint>

namespace torchprotect {

/// `[outer, channels, height, width]`, strides in elements; does not own its memory.
struct Image {
  void* data;
  int64_t item;  // bytes per element
  int64_t outer, channels, height, width;
  int64_t outer_stride, channel_stride, row_stride, column_stride;
  bool fresh;  // newly allocated memory, whose pages are mapped when they are first written

  int64_t bytes() const { return outer * channels * height * width * item; }
};

/// Blocks of `height x width` elements, read row-major.
struct Grid {
  int64_t height, width, rows, columns;

  int64_t positions() const { return rows * columns; }
};

/// Matrices or keys, one for each position and channel: contiguous `[positions, channels or 1, ...]`.
struct Table {
  const void* data;
  int64_t channels;  // 1: shared by all channels
  int64_t size;      // bytes of a key, or rows of a square matrix
};

/// Tasks of kernels, with checked arguments: read `image`, write `out` of the same sizes, which shares no memory.
/// Block `i` of the result comes from block `order[i]` of the image; without an order from block `i`.
struct PermuteTask {
  Image image, out;
  Grid grid;
  const int64_t* order;
};

struct AesTask {
  Image image, out;
  Grid grid;
  const int64_t* order;  // or null
  Table keys;
  bool decrypt;
};

struct MatmulTask {
  Image image, out;  // float or double, by `image.item`
  Grid grid;
  const int64_t* order;  // or null
  Table matrices;
  bool left;
};

/// Up to this matrix size sums run in order, each product and sum rounded: the same bits everywhere.
constexpr int64_t kOrderedSumLimit = 16;

}  // namespace torchprotect
