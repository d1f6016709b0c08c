// AES-ECB over blocks, a key for each position.
//
// The same positions of several planes go through the cipher together: a round key is loaded once for many units, and
// enough of them are in flight even where each position has a single unit. Units that lie in one row, and where the
// cipher can do it those of narrow blocks, go from the image straight into the result; others are put together in a
// scratch first and taken apart after.
#include "aes.h"
#include "blocks.h"
#include "kernels.h"
#include "parallel.h"
#include "tiles.h"

namespace torchprotect::cpu {
namespace {

constexpr int64_t kMaxLanes = 4;
constexpr int64_t kStepBytes = 2048;

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
#if defined(__GNUC__)
    asm volatile("" ::"r"(all_.data()) : "memory");  // and this is not dead code
#endif
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
    if (bytes >= kStepBytes && bytes % kUnitBytes == 0 && grid.height % height == 0) return grid.height / height;
  }
  return 1;
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

bool is_narrow(const Plan& plan) {
  return plan.has_rows() && (plan.run == 4 || plan.run == 8) && plan.grid.height % 4 == 0;
}

/// Blocks that are encrypted together, in the lanes of a vector.
int64_t count_blocks(const Plan& plan, const Cipher& cipher, bool narrow, bool key_per_lane) {
  if (narrow) return kUnitBytes / plan.run;
  return key_per_lane ? cipher.lanes : 1;
}

class Job {
 public:
  Job(const AesTask& task, const Cipher& cipher)
      : cipher_(cipher), plan_(task.image, task.out, task.grid, task.order, count_slices(task.grid)),
        units_(plan_.block_bytes / kUnitBytes), narrow_(cipher.narrow != nullptr && is_narrow(plan_)),
        key_per_lane_(units_ % cipher.lanes != 0), blocks_(count_blocks(plan_, cipher, narrow_, key_per_lane_)),
        tiles_(plan_, task.keys.channels, blocks_, kStepBytes), schedules_(cipher, task),
        direct_(reach_units(plan_, cipher.lanes)), decrypt_(task.decrypt) {}

  const Tiles& tiles() const { return tiles_; }

  void run(int64_t begin, int64_t end) const {
    if (narrow_) {
      tiles_.run(begin, end, [&](const Batch& batch, Transfer&) { crypt_narrow(batch); });
    } else if (direct_.strips > 0) {
      tiles_.run(begin, end, [&](const Batch& batch, Transfer&) { crypt_directly(batch); });
    } else {
      AlignedVector<char> scratch(tiles_.planes() * line());
      tiles_.run(begin, end, [&](const Batch& batch, Transfer&) {
        cut(batch, scratch.data());
        crypt(batch, scratch.data());
        lay(batch, scratch.data());
      });
    }
  }

 private:
  int64_t line() const { return blocks_ * plan_.block_bytes; }  // bytes of the scratch for each plane

  const uint8_t* schedule(const Batch& batch, int64_t block) const {
    return schedules_.of(plan_.positions[batch.first_place + std::min(block, batch.blocks - 1)], batch.channel);
  }

  void crypt_narrow(const Batch& batch) const {
    const uint8_t* lanes[kMaxLanes];
    for (int64_t k = 0; k < kMaxLanes; ++k) lanes[k] = schedule(batch, k);
    cipher_.narrow(
        lanes, schedules_.rounds(), decrypt_,
        {batch.planes, batch.blocks, plan_.run, plan_.grid.height, batch.from, batch.offsets, plan_.from_pitch,
         batch.to, plan_.to_pitch});
  }

  void crypt_directly(const Batch& batch) const {
    const char* from[kMaxPlanes];
    for (int64_t t = 0; t < batch.planes; ++t) from[t] = batch.from[t] + batch.offsets[0];
    cipher_.one_key(
        schedule(batch, 0), schedules_.rounds(), decrypt_,
        {batch.planes, direct_.strips, direct_.count, from, direct_.reads, batch.to, direct_.writes});
  }

  void cut(const Batch& batch, char* scratch) const {
    const Grid& grid = plan_.grid;
    for (int64_t t = 0; t < batch.planes; ++t) {
      for (int64_t i = 0; i < batch.blocks; ++i) {
        const char* from = batch.from[t] + batch.offsets[i];
        copy_any_block(
            scratch + t * line() + i * plan_.block_bytes, grid.width, 1, from, plan_.from_pitch, plan_.from_step,
            grid.height, grid.width, 1);
      }
    }
  }

  void lay(const Batch& batch, const char* scratch) const {
    const Grid& grid = plan_.grid;
    for (int64_t t = 0; t < batch.planes; ++t) {
      for (int64_t i = 0; i < batch.blocks; ++i) {
        copy_any_block(
            batch.to[t] + i * grid.width * plan_.to_step, plan_.to_pitch, plan_.to_step,
            scratch + t * line() + i * plan_.block_bytes, grid.width, 1, grid.height, grid.width, 1);
      }
    }
  }

  /// Units in the scratch, in place.
  void crypt(const Batch& batch, char* scratch) const {
    const int64_t each = key_per_lane_ ? cipher_.lanes : units_;
    char* at[kMaxPlanes];
    for (int64_t first = 0; first < blocks_ * units_; first += each) {
      for (int64_t t = 0; t < batch.planes; ++t) at[t] = scratch + t * line() + first * kUnitBytes;
      const Units units{batch.planes, 1, each, at, {kUnitBytes, 0}, at, {kUnitBytes, 0}};
      if (key_per_lane_) {  // lanes left over repeat a key
        const uint8_t* lanes[kMaxLanes];
        for (int64_t k = 0; k < cipher_.lanes; ++k) lanes[k] = schedule(batch, (first + k) / units_);
        cipher_.key_per_lane(lanes, schedules_.rounds(), decrypt_, units);
      } else {
        cipher_.one_key(schedule(batch, first / units_), schedules_.rounds(), decrypt_, units);
      }
    }
  }

  const Cipher& cipher_;
  Plan plan_;
  int64_t units_;  // of a block
  bool narrow_, key_per_lane_;
  int64_t blocks_;  // of a batch
  Tiles tiles_;
  Schedules schedules_;
  Direct direct_;
  bool decrypt_;
};

}  // namespace

void aes_ecb(const AesTask& task, int) {
  const Job job(task, pick_cipher());
  const int64_t grain = std::max<int64_t>(kParallelBytes / job.tiles().bytes(), 1);
  parallel_for(job.tiles().count(), grain, [&](int64_t begin, int64_t end) { job.run(begin, end); });
}

}  // namespace torchprotect::cpu
