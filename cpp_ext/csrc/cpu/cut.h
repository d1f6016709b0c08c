// Planes that are cut into contiguous blocks before these are permuted.
//
// On a plane larger than the first cache, every short row of a block is in another cache line, most of which is not
// used. Cut first, each block is contiguous: both passes then read and write whole lines.
#pragma once

#include "plan.h"
#include "turn.h"

namespace torchprotect::cpu {

constexpr int64_t kAheadBytes = 24 * 1024;  // how far ahead of the cut the image is fetched

/// Planes of tiles, which are what `turner` turns: one plane is laid while the next is fetched and cut.
class CutPlanes {
 public:
  CutPlanes(const Plan& plan, const Turner& turner)
      : plan_(plan), turner_(turner), band_(turner.band_bytes(plan.grid.columns)) {
    const int64_t rows_bytes = plan.grid.height * plan.from_pitch;
    offsets_.reserve(plan.offsets.size());
    for (const int64_t offset : plan.offsets) {
      const int64_t column = offset % plan.from_pitch / plan.run;
      offsets_.push_back(offset / rows_bytes * band_ + turner.place(column, plan.grid.columns));
    }
  }

  /// Make planes [begin, end).
  void make(int64_t begin, int64_t end) const {
    const int64_t rows = plan_.grid.rows, together = std::max<int64_t>(kTileBytes / plan_.band_bytes, 1);
    const int64_t half =
        (rows * band_ + 4095) / 4096 * 4096 + 2048;  // as in `Writer`: never the same offset in two pages
    AlignedVector<char> scratch(2 * half);
    Writer writer(plan_, together * plan_.band_bytes);
    const auto tiles_of = [&](int64_t plane) { return scratch.data() + plane % 2 * half; };
    for (int64_t row = 0; row < rows; ++row) cut(begin, row, tiles_of(begin));
    for (int64_t plane = begin; plane < end; ++plane) {
      for (int64_t first = 0; first < rows; first += together) {
        const int64_t last = std::min(first + together, rows), bytes = (last - first) * plan_.band_bytes;
        writer.begin(bytes);
        char* target = writer.place(plan_.target(plane) + first * plan_.band_bytes, bytes);
        for (int64_t row = first; row < last; ++row, target += plan_.band_bytes) {
          if (plane + 1 < end) fetch(plane + 1, row);  // before laying, because fetching takes time
          lay(tiles_of(plane), row, target);
          if (plane + 1 < end) cut(plane + 1, row, tiles_of(plane + 1));
        }
        writer.step(bytes);
      }
    }
    writer.finish();
  }

 private:
  const char* source(int64_t plane, int64_t row) const { return plan_.source(plane) + row * plan_.band_bytes; }
  void fetch(int64_t plane, int64_t row) const { prefetch(source(plane, row) + kAheadBytes, plan_.band_bytes, false); }
  void cut(int64_t plane, int64_t row, char* tiles) const {
    turner_.cut(source(plane, row), plan_.from_pitch, plan_.grid.columns, tiles + row * band_);
  }
  void lay(const char* tiles, int64_t row, char* target) const {
    const int64_t* offsets = offsets_.data() + row * plan_.grid.columns;
    turner_.lay(tiles, offsets, plan_.grid.columns, target, plan_.to_pitch);
  }

  const Plan& plan_;
  const Turner& turner_;
  int64_t band_;                  // bytes of a band's tiles
  std::vector<int64_t> offsets_;  // where each tile of the result lies in a cut plane
};

}  // namespace torchprotect::cpu
