// How work with a key or matrix for each position is cut up: the same positions of several planes go together.
#pragma once

#include "plan.h"

namespace torchprotect::cpu {

constexpr int64_t kPieceBytes = 4096;  // a tile holds at least so much of each plane, where there is so much
constexpr int64_t kMaxPlanes = 32;

/// Neighbouring blocks of the result, in several planes: one step of the work.
struct Batch {
  int64_t planes, blocks;
  int64_t first_place;           // of the first block
  int64_t channel;               // whose keys are used
  const char* from[kMaxPlanes];  // planes of the image
  const int64_t* offsets;        // of each block in them
  char* to[kMaxPlanes];          // the first block in the result
};

/// What memory has to do during a step: fetch the same blocks of the planes that come next, and stream the tile before.
class Transfer {
 public:
  /// `ahead`: where these blocks of the next planes begin, or null; `bytes` of each of `planes` planes.
  Transfer(Writer& writer, const char* const* ahead, int64_t planes, int64_t bytes)
      : writer_(writer), ahead_(ahead), bytes_(bytes), left_(planes * bytes) {}

  /// Do a part of it, in the measure in which the result is made.
  void step(int64_t bytes) {
    bytes = std::min(bytes, left_);
    left_ -= bytes;
    for (int64_t todo = bytes; todo > 0;) {
      const int64_t count = std::min(todo, bytes_ - done_);
      if (*ahead_ != nullptr) prefetch(*ahead_ + done_, count, false);
      todo -= count;
      done_ += count;
      if (done_ == bytes_) {
        ++ahead_;
        done_ = 0;
      }
    }
    writer_.step(bytes);
  }
  void finish() { step(left_); }

 private:
  Writer& writer_;
  const char* const* ahead_;
  int64_t bytes_, left_;
  int64_t done_ = 0;  // of this plane
};

/// Tiles of some planes by some bands, made `blocks` blocks at a time.
class Tiles {
 public:
  /// `table_channels`: 1 where all channels share keys, so that their planes go together too. A step is to take about
  /// `step_bytes`, from as many planes as that needs.
  Tiles(const Plan& plan, int64_t table_channels, int64_t blocks, int64_t step_bytes)
      : plan_(plan), blocks_(blocks), classes_(table_channels), per_class_(plan.planes / table_channels) {
    planes_ = std::clamp<int64_t>(step_bytes / (blocks * plan.block_bytes), 1, std::min(kMaxPlanes, per_class_));
    bands_ = std::clamp<int64_t>(kPieceBytes / plan.band_bytes, 1, plan.grid.rows);
    plane_tiles_ = (per_class_ + planes_ - 1) / planes_;
    band_tiles_ = (plan.grid.rows + bands_ - 1) / bands_;
  }

  int64_t count() const { return classes_ * plane_tiles_ * band_tiles_; }
  int64_t bytes() const { return planes_ * bands_ * plan_.band_bytes; }
  int64_t planes() const { return planes_; }

  /// Call `work(batch, transfer)` for every step of tiles [begin, end). What it leaves of the transfer is done after
  /// it.
  template <class Work>
  void run(int64_t begin, int64_t end, const Work& work) const {
    Writer writer(plan_, bytes());
    for (int64_t i = begin; i < end; ++i) run_tile(i, writer, work);
    writer.finish();
  }

 private:
  int64_t plane(int64_t channel, int64_t index) const { return index * classes_ + channel; }

  template <class Work>
  void run_tile(int64_t tile, Writer& writer, const Work& work) const {
    const Grid& grid = plan_.grid;
    const int64_t plane_tile = tile / band_tiles_, first_row = tile % band_tiles_ * bands_;
    const int64_t first = plane_tile % plane_tiles_ * planes_, end_row = std::min(first_row + bands_, grid.rows);
    Batch batch;
    batch.channel = plane_tile / plane_tiles_;
    batch.planes = std::min(planes_, per_class_ - first);
    const char* ahead[kMaxPlanes];
    char* tops[kMaxPlanes];
    writer.begin(batch.planes * (end_row - first_row) * plan_.band_bytes);  // one tile: none of it streamed too early
    for (int64_t t = 0; t < batch.planes; ++t) {
      const int64_t here = plane(batch.channel, first + t), next = first + t + planes_;
      batch.from[t] = plan_.source(here);
      tops[t] = writer.place(
          plan_.target(here) + first_row * grid.height * plan_.to_pitch, (end_row - first_row) * plan_.band_bytes);
      ahead[t] = plan_.fetchable() && next < per_class_ ? plan_.source(plane(batch.channel, next)) : nullptr;
    }
    for (int64_t row = first_row; row < end_row; ++row) {
      for (int64_t column = 0; column < grid.columns; column += blocks_) {
        batch.first_place = row * grid.columns + column;
        batch.blocks = std::min(blocks_, grid.columns - column);
        batch.offsets = plan_.offsets.data() + batch.first_place;
        const int64_t place = (row - first_row) * grid.height * plan_.to_pitch + column * grid.width * plan_.to_step;
        const int64_t bytes = batch.blocks * plan_.block_bytes;
        const char* next[kMaxPlanes];
        for (int64_t t = 0; t < batch.planes; ++t) {
          batch.to[t] = tops[t] + place;
          next[t] = ahead[t] == nullptr ? nullptr : ahead[t] + batch.first_place * plan_.block_bytes;
        }
        Transfer transfer(writer, next, batch.planes, bytes);
        work(batch, transfer);
        transfer.finish();
      }
    }
  }

  const Plan& plan_;
  int64_t blocks_, planes_, bands_;
  int64_t classes_, per_class_;       // planes under the same keys
  int64_t plane_tiles_, band_tiles_;  // for each class, and for each plane
};

}  // namespace torchprotect::cpu
