// What every kernel works out before it starts: where blocks lie, in bytes.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "../image.h"
#include "aligned.h"
#include "stream.h"

namespace torchprotect::cpu {

constexpr int64_t kPrefetchBytes = 256 * 1024;  // planes up to this size are fetched ahead
constexpr int64_t kNearBytes = 16 * 1024;       // and up to this size into the first cache
constexpr int64_t kBandBytes = 128 * 1024;      // longer bands are not worth a scratch
constexpr int64_t kTileBytes = 6144;            // whole bands put together before they are streamed

/// A band is one row of blocks.
struct Plan {
  Image image, out;
  Grid grid;
  int64_t item, run;             // bytes of an element, and of a block's row
  int64_t from_pitch, to_pitch;  // bytes between rows
  int64_t from_step, to_step;    // bytes between elements of a row
  int64_t row_bytes, band_bytes, block_bytes, planes;
  bool streamed;                   // the result is large and its rows follow each other
  bool packed;                     // so do the image's rows and planes
  std::vector<int64_t> positions;  // which block of the image, before slicing, each block of the result comes from
  std::vector<int64_t> offsets;    // and where that begins, in a plane of the image

  /// Each block is worked on as `slices` blocks above each other, which stay together.
  Plan(const Image& from, const Image& to, const Grid& blocks, const int64_t* order, int64_t slices = 1)
      : image(from), out(to), grid{blocks.height / slices, blocks.width, blocks.rows * slices, blocks.columns} {
    item = image.item;
    run = grid.width * item;
    row_bytes = image.width * item;
    from_pitch = image.row_stride * item;
    to_pitch = out.row_stride * item;
    from_step = image.column_stride * item;
    to_step = out.column_stride * item;
    band_bytes = grid.height * row_bytes;
    block_bytes = grid.height * run;
    planes = image.outer * image.channels;
    // a page handed over just now is in the caches, zeroed: writing past them would be slower
    streamed =
        !out.fresh && has_rows(out) && to_pitch == row_bytes && out.bytes() >= kStreamBytes && band_bytes <= kBandBytes;
    packed = has_rows(image) && from_pitch == row_bytes &&
             follow(image.channels, image.channel_stride, image.height * image.row_stride) &&
             follow(image.outer, image.outer_stride, image.channels * image.height * image.row_stride);
    find_blocks(order, slices);
  }

  bool has_rows() const { return has_rows(image) && has_rows(out); }
  bool fetchable() const { return packed && grid.rows * band_bytes <= kPrefetchBytes; }
  const char* source(int64_t plane) const { return at(image, plane); }
  char* target(int64_t plane) const { return at(out, plane); }

 private:
  void find_blocks(const int64_t* order, int64_t slices) {
    std::vector<int64_t> starts;  // of each block of the image, before slicing
    for (int64_t row = 0; row < grid.rows; row += slices) {
      for (int64_t column = 0; column < grid.columns; ++column) {
        starts.push_back(row * grid.height * from_pitch + column * grid.width * from_step);
      }
    }
    positions.reserve(grid.positions());
    offsets.reserve(grid.positions());
    for (int64_t row = 0; row < grid.rows; ++row) {
      const int64_t first = row / slices * grid.columns, below = row % slices * grid.height * from_pitch;
      for (int64_t place = first; place < first + grid.columns; ++place) {
        const int64_t position = order == nullptr ? place : order[place];
        // checked before, but another thread may have written to the order since: then too nothing outside is read
        if (position < 0 || position >= static_cast<int64_t>(starts.size())) {
          throw std::runtime_error("torchprotect: order was changed while it was used");
        }
        positions.push_back(position);
        offsets.push_back(starts[position] + below);
      }
    }
  }

  static bool has_rows(const Image& any) { return any.column_stride == 1 || any.width == 1; }
  static bool follow(int64_t size, int64_t stride, int64_t length) { return size == 1 || stride == length; }
  static char* at(const Image& any, int64_t plane) {
    const int64_t n = plane / any.channels, c = plane % any.channels;
    return static_cast<char*>(any.data) + (n * any.outer_stride + c * any.channel_stride) * any.item;
  }
};

/// Where finished rows are put: straight into the result, or into a scratch that is streamed there while more is made.
class Writer {
 public:
  /// `tile` bytes at most are placed before the next tile begins.
  Writer(const Plan& plan, int64_t tile)
      : streamed_(plan.streamed), capacity_(tile),
        other_((tile + 4095) / 4096 * 4096 + 2048),  // the core could not tell equal offsets in two pages apart
        scratch_(streamed_ ? other_ + capacity_ : 0) {}

  /// Begin a tile of `bytes` in all. What was placed before is finished, and may be streamed while this one is made.
  void begin(int64_t bytes) {
    if (streamed_ && filled_ + bytes > capacity_) turn();
  }

  /// Where to write the `bytes` of the tile that are to stand at `target`; valid until the next tile begins.
  char* place(char* target, int64_t bytes) {
    if (!streamed_) return target;
    char* here = scratch_.data() + half_ * other_ + filled_;
    if (!open_.empty() && open_.back().to + open_.back().bytes == target) {
      open_.back().bytes += bytes;
    } else {
      open_.push_back({target, here, bytes});
    }
    filled_ += bytes;
    return here;
  }

  /// Let memory catch up: stream about `bytes` of the tile before.
  void step(int64_t bytes) {
    if (streamed_) advance((bytes + 63) / 64);
  }

  void finish() {
    if (!streamed_) return;
    turn();
    turn();
    finish_streaming();
  }

 private:
  struct Piece {
    char* to;
    const char* from;
    int64_t bytes;
  };

  void advance(int64_t lines) {
    while ((lines = stream_.step(lines)) > 0 && next_ < full_.size()) {
      stream_.finish();
      const Piece& piece = full_[next_++];
      stream_.begin(piece.to, piece.from, piece.bytes);
    }
  }
  void turn() {
    advance(capacity_);
    stream_.finish();
    full_.swap(open_);
    open_.clear();
    next_ = 0;
    filled_ = 0;
    half_ ^= 1;
  }

  bool streamed_;
  int64_t capacity_, other_;  // bytes of a half of the scratch, and where the other begins
  int64_t filled_ = 0, half_ = 0;
  AlignedVector<char> scratch_;
  std::vector<Piece> open_, full_;  // being filled, and being streamed
  size_t next_ = 0;
  Stream stream_;
};

}  // namespace torchprotect::cpu
