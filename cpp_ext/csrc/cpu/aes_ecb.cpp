// AES-ECB over blocks, a key for each position.
//
// A tile of several planes is worked on together: the same positions, and so the same keys, in all of them. So a round
// key is loaded once for many units, and enough of them are in flight even where each position has a single unit.
// Units that lie in one row go from the image through the cipher into the result; those of narrow blocks, which lie in
// pieces on several rows, are put together in a scratch first and taken apart after.
#include "aes.h"
#include "blocks.h"
#include "kernels.h"
#include "parallel.h"

namespace torchprotect::cpu {
namespace {

constexpr int64_t kBatchBytes = 2048;  // about so much goes through the cipher at a time
constexpr int64_t kPieceBytes = 4096;  // a tile holds at least so much of each plane, where there is so much
constexpr int64_t kMaxPlanes = 32, kMaxLanes = 4;

const Cipher& pick_cipher() {
#if defined(__x86_64__)
  if (may_use_vaes()) return vaes_cipher;
  if (may_use_aesni()) return aesni_cipher;
#endif
  return portable_cipher;
}

/// The round keys of every key.
class Schedules {
 public:
  Schedules(const Cipher& cipher, const AesTask& task)
      : rounds_(rounds_of(task.keys.size)), channels_(task.keys.channels), bytes_(kUnitBytes * (rounds_ + 1)) {
    const int64_t count = task.grid.positions() * channels_;
    all_.resize(count * bytes_);
    const auto* keys = static_cast<const uint8_t*>(task.keys.data);
    for (int64_t i = 0; i < count; ++i) {
      cipher.expand(keys + i * task.keys.size, task.keys.size, task.decrypt, all_.data() + i * bytes_);
    }
  }
  ~Schedules() {
    std::memset(all_.data(), 0, all_.size());  // keys do not stay in memory that is given back
    asm volatile("" ::"r"(all_.data()) : "memory");  // and this is not dead code
  }
  int rounds() const { return rounds_; }
  const uint8_t* of(int64_t position, int64_t channel) const {
    return all_.data() + (position * channels_ + (channels_ > 1 ? channel : 0)) * bytes_;
  }

 private:
  int rounds_;
  int64_t channels_, bytes_;
  std::vector<uint8_t> all_;
};

/// Into how many slices to cut large blocks: each still whole units, and small enough for the caches.
int64_t count_slices(const Grid& grid) {
  for (int64_t height = 1; height < grid.height; ++height) {
    const int64_t bytes = height * grid.width;
    if (bytes >= kBatchBytes && bytes % kUnitBytes == 0 && grid.height % height == 0) return grid.height / height;
  }
  return 1;
}

/// How the work is cut: tiles of `planes` planes under the same keys by `bands` bands, `blocks` blocks at a time.
struct Tiling {
  int64_t lanes, units, blocks, planes, bands;
  int64_t classes, per_class;       // planes under the same keys
  int64_t plane_tiles, band_tiles;  // for each class, and for each plane

  bool narrow;  // blocks are handed to the cipher's own function for narrow ones

  Tiling(const Plan& plan, const AesTask& task, int64_t cipher_lanes, bool takes_narrow) : lanes(cipher_lanes) {
    units = plan.block_bytes / kUnitBytes;
    narrow = takes_narrow && plan.has_rows() && (plan.run == 4 || plan.run == 8) && plan.grid.height % 4 == 0;
    blocks = narrow ? kUnitBytes / plan.run : units % lanes != 0 ? lanes : 1;
    classes = task.keys.channels, per_class = plan.planes / classes;
    planes = std::clamp<int64_t>(kBatchBytes / (blocks * plan.block_bytes), 1, std::min(kMaxPlanes, per_class));
    bands = std::clamp<int64_t>(kPieceBytes / plan.band_bytes, 1, plan.grid.rows);
    plane_tiles = (per_class + planes - 1) / planes, band_tiles = (plan.grid.rows + bands - 1) / bands;
  }
  int64_t plane(int64_t keys, int64_t index) const { return index * classes + keys; }
  bool key_per_lane() const { return units % lanes != 0; }
};

/// Neighbouring blocks of some planes, in the image, in units and in the result.
struct Batch {
  int64_t planes, blocks;
  int64_t height, run, block_bytes, line;
  int64_t from_pitch, from_step, to_pitch, to_step;
  const char* from[kMaxPlanes];
  char* to[kMaxPlanes];
  char* units[kMaxPlanes];
  const int64_t* offsets;  // of blocks in the image
  int64_t to_offset;       // of the first block in the result
};

/// Cut the blocks out into units. `kRun` as in `with_run`; -1 for images without rows.
template <int kRun>
TORCHPROTECT_ALONE void cut(const Batch& shared) {
  const Batch batch = shared;  // of its own, which the bytes written cannot change
  for (int64_t t = 0; t < batch.planes; ++t) {
    char* to = batch.units[t];
    for (int64_t i = 0; i < batch.blocks; ++i, to += batch.block_bytes) {
      const char* from = batch.from[t] + batch.offsets[i];
      if constexpr (kRun < 0) {
        copy_block_strided(to, batch.run, 1, from, batch.from_pitch, batch.from_step, batch.height, batch.run, 1);
      } else {
        cut_block<kRun>(to, from, batch.from_pitch, batch.height, batch.run);
      }
    }
  }
}

/// Lay the units into the rows of the result.
template <int kRun>
TORCHPROTECT_ALONE void lay(const Batch& shared) {
  const Batch batch = shared;
  for (int64_t t = 0; t < batch.planes; ++t) {
    char* to = batch.to[t] + batch.to_offset;
    const char* from = batch.units[t];
    if constexpr (kRun < 0) {
      for (int64_t i = 0; i < batch.blocks; ++i, from += batch.block_bytes, to += batch.run * batch.to_step) {
        copy_block_strided(to, batch.to_pitch, batch.to_step, from, batch.run, 1, batch.height, batch.run, 1);
      }
    } else {
      lay_pieces<kRun>(to, batch.to_pitch, from, batch.blocks, batch.height, batch.run);
    }
  }
}

/// How a block's units are reached in the image and the result themselves. No strips: they lie in pieces.
struct Direct {
  int64_t strips = 0, count = 0;
  Layout reads{0, 0}, writes{0, 0};
};

/// All units of a block are under one key, so their order does not matter: along the rows, or down the columns.
Direct reach_units(const Plan& plan, int64_t lanes) {
  const int64_t height = plan.grid.height, each = plan.run / kUnitBytes;
  if (!plan.has_rows() || plan.run % kUnitBytes != 0) return {};
  const Layout along_reads{kUnitBytes, plan.from_pitch}, along_writes{kUnitBytes, plan.to_pitch};
  if (each % lanes == 0) return {height, each, along_reads, along_writes};
  const Layout down_reads{plan.from_pitch, kUnitBytes}, down_writes{plan.to_pitch, kUnitBytes};
  return height % lanes == 0 ? Direct{each, height, down_reads, down_writes} : Direct{};
}

class Job {
 public:
  Job(const AesTask& task, const Cipher& cipher)
      : cipher_(cipher),
        plan_(task.image, task.out, task.grid, task.order, count_slices(task.grid)),
        tiling_(plan_, task, cipher.lanes, cipher.narrow != nullptr),
        schedules_(cipher, task),
        decrypt_(task.decrypt),
        direct_(reach_units(plan_, tiling_.lanes)) {}

  int64_t tiles() const { return tiling_.classes * tiling_.plane_tiles * tiling_.band_tiles; }
  int64_t tile_bytes() const { return tiling_.planes * tiling_.bands * plan_.band_bytes; }

  void run(int64_t begin, int64_t end) const {
    if (!plan_.has_rows()) return run_tiles<-1>(begin, end);
    with_run(plan_.run, [&](auto run) { run_tiles<run.value>(begin, end); });
  }

 private:
  template <int kRun>
  TORCHPROTECT_ALONE void run_tiles(int64_t begin, int64_t end) const {
    Writer writer(plan_, tile_bytes());
    Batch batch;
    batch.height = plan_.grid.height, batch.run = plan_.run, batch.block_bytes = plan_.block_bytes;
    batch.from_pitch = plan_.from_pitch, batch.from_step = plan_.from_step;
    batch.to_pitch = plan_.to_pitch, batch.to_step = plan_.to_step;
    batch.line = tiling_.blocks * plan_.block_bytes;
    std::vector<char> units(tiling_.planes * batch.line);
    for (int64_t t = 0; t < tiling_.planes; ++t) batch.units[t] = units.data() + t * batch.line;
    for (int64_t i = begin; i < end; ++i) run_tile<kRun>(i, batch, writer);
    writer.finish();
  }

  template <int kRun>
  void run_tile(int64_t tile, Batch& batch, Writer& writer) const {
    const Grid& grid = plan_.grid;
    const int64_t plane_tile = tile / tiling_.band_tiles, first_row = tile % tiling_.band_tiles * tiling_.bands;
    const int64_t keys = plane_tile / tiling_.plane_tiles;
    const int64_t first = plane_tile % tiling_.plane_tiles * tiling_.planes;
    const int64_t end_row = std::min(first_row + tiling_.bands, grid.rows);
    const char* ahead[kMaxPlanes];
    batch.planes = std::min(tiling_.planes, tiling_.per_class - first);
    for (int64_t t = 0; t < batch.planes; ++t) {
      const int64_t plane = tiling_.plane(keys, first + t), next = first + t + tiling_.planes;
      batch.from[t] = plan_.source(plane);
      batch.to[t] = writer.place(
          plan_.target(plane) + first_row * grid.height * plan_.to_pitch, (end_row - first_row) * plan_.band_bytes);
      ahead[t] = plan_.fetchable() && next < tiling_.per_class ? plan_.source(tiling_.plane(keys, next)) : nullptr;
    }
    for (int64_t row = first_row; row < end_row; ++row) {
      for (int64_t column = 0; column < grid.columns; column += tiling_.blocks) {
        const int64_t place = row * grid.columns + column;
        batch.blocks = std::min(tiling_.blocks, grid.columns - column);
        batch.offsets = plan_.offsets.data() + place;
        batch.to_offset = (row - first_row) * grid.height * plan_.to_pitch + column * grid.width * plan_.to_step;
        const int64_t bytes = batch.blocks * plan_.block_bytes;
        for (int64_t t = 0; t < batch.planes; ++t) {
          if (ahead[t] != nullptr) prefetch(ahead[t] + place * plan_.block_bytes, bytes, false);
        }
        if (tiling_.narrow) {
          crypt_narrow(keys, place, batch);
        } else if (direct_.strips > 0) {
          crypt_directly(keys, plan_.positions[place], batch);
        } else {
          cut<kRun>(batch);
          crypt(keys, place, batch);
          lay<kRun>(batch);
        }
        writer.step(batch.planes * bytes);
      }
    }
  }

  /// Blocks that are 16 bytes wide together, from the image into the result.
  void crypt_narrow(int64_t keys, int64_t place, const Batch& batch) const {
    char* to[kMaxPlanes];
    for (int64_t t = 0; t < batch.planes; ++t) to[t] = batch.to[t] + batch.to_offset;
    const uint8_t* lanes[kMaxLanes];
    for (int64_t k = 0; k < kMaxLanes; ++k) {
      lanes[k] = schedules_.of(plan_.positions[place + std::min(k, batch.blocks - 1)], keys);
    }
    cipher_.narrow(
        lanes, schedules_.rounds(), decrypt_,
        {batch.planes, batch.blocks, batch.run, batch.height, batch.from, batch.offsets, batch.from_pitch, to,
         batch.to_pitch});
  }

  /// One block of each plane, from the image into the result.
  void crypt_directly(int64_t keys, int64_t position, const Batch& batch) const {
    const char* from[kMaxPlanes];
    char* to[kMaxPlanes];
    for (int64_t t = 0; t < batch.planes; ++t) {
      from[t] = batch.from[t] + batch.offsets[0], to[t] = batch.to[t] + batch.to_offset;
    }
    cipher_.one_key(
        schedules_.of(position, keys), schedules_.rounds(), decrypt_,
        {batch.planes, direct_.strips, direct_.count, from, direct_.reads, to, direct_.writes, true});
  }

  /// Units in the scratch, in place.
  void crypt(int64_t keys, int64_t place, const Batch& batch) const {
    const int64_t* positions = plan_.positions.data() + place;
    const int64_t all = tiling_.blocks * tiling_.units, each = tiling_.key_per_lane() ? tiling_.lanes : tiling_.units;
    char* at[kMaxPlanes];
    for (int64_t first = 0; first < all; first += each) {
      for (int64_t t = 0; t < batch.planes; ++t) at[t] = batch.units[t] + first * kUnitBytes;
      const Units units{batch.planes, 1, each, at, {kUnitBytes, 0}, at, {kUnitBytes, 0}, false};
      const uint8_t* lanes[kMaxLanes];
      for (int64_t k = 0; k < tiling_.lanes; ++k) {  // lanes left over repeat a key
        lanes[k] = schedules_.of(positions[std::min((first + k) / tiling_.units, batch.blocks - 1)], keys);
      }
      if (tiling_.key_per_lane()) {
        cipher_.key_per_lane(lanes, schedules_.rounds(), decrypt_, units);
      } else {
        cipher_.one_key(lanes[0], schedules_.rounds(), decrypt_, units);
      }
    }
  }

  const Cipher& cipher_;
  Plan plan_;
  Tiling tiling_;
  Schedules schedules_;
  bool decrypt_;
  Direct direct_;
};

}  // namespace

void aes_ecb(const AesTask& task, int) {
  const Job job(task, pick_cipher());
  const int64_t grain = std::max<int64_t>(kParallelBytes / job.tile_bytes(), 1);
  parallel_for(job.tiles(), grain, [&](int64_t begin, int64_t end) { job.run(begin, end); });
}

}  // namespace torchprotect::cpu
