// Blocks times matrices, a matrix for each position: memory-bound work, so each block is read, multiplied and written
// once. The same positions of several planes go together, so that a matrix is loaded once for all of them.
#include "block_matmul.h"

#include "blocks.h"
#include "kernels.h"
#include "parallel.h"
#include "tiles.h"

namespace torchprotect::cpu {
namespace {

template <class Scalar>
Multiplier<Scalar> pick_multiplier(int64_t size, bool left) {
#if defined(__x86_64__)
  if (may_use_avx512()) return avx512_multiplier<Scalar>(size, left);
  if (may_use_avx2()) return avx2_multiplier<Scalar>(size, left);
#endif
  return portable_multiplier<Scalar>(size, left);
}

constexpr int64_t kStepBytes = 8192;
constexpr int64_t kStepWidth = 64;  // elements of a row, about

template <class Scalar>
class Job {
 public:
  explicit Job(const MatmulTask& task)
      : multiplier_(pick_multiplier<Scalar>(task.matrices.size, task.left)),
        plan_(task.image, task.out, task.grid, task.order),
        blocks_(std::max<int64_t>(kStepWidth / (multiplier_.blocks * plan_.grid.width), 1) * multiplier_.blocks),
        tiles_(plan_, task.matrices.channels, blocks_, kStepBytes),
        groups_((plan_.grid.columns + multiplier_.blocks - 1) / multiplier_.blocks),
        ordered_(task.matrices.size <= kOrderedSumLimit) {
    pack(task.matrices);
    for (int64_t offset : plan_.offsets) offsets_.push_back(offset / plan_.item);
  }

  const Tiles& tiles() const { return tiles_; }

  void run(int64_t begin, int64_t end) const {
    if (plan_.has_rows()) {
      tiles_.run(begin, end, [&](const Batch& batch, Transfer& transfer) { multiply(batch, transfer); });
    } else {
      AlignedVector<Scalar> scratch(2 * tiles_.planes() * line());
      tiles_.run(
          begin, end, [&](const Batch& batch, Transfer& transfer) { multiply_apart(batch, transfer, scratch.data()); });
    }
  }

 private:
  int64_t line() const { return blocks_ * plan_.grid.height * plan_.grid.width; }

  /// Arrange the matrices in the order in which they are used, channel by channel.
  void pack(const Table& matrices) {
    const Grid& grid = plan_.grid;
    const int64_t size = matrices.size * matrices.size, each = multiplier_.blocks;
    const auto* all = static_cast<const Scalar*>(matrices.data);
    packed_.resize(matrices.channels * grid.rows * groups_ * multiplier_.packed_size);
    Scalar* packed = packed_.data();
    std::vector<const Scalar*> group(each);
    for (int64_t channel = 0; channel < matrices.channels; ++channel) {
      for (int64_t row = 0; row < grid.rows; ++row) {
        for (int64_t column = 0; column < grid.columns; column += each, packed += multiplier_.packed_size) {
          const int64_t count = std::min(each, grid.columns - column);
          for (int64_t i = 0; i < count; ++i) {
            const int64_t position = plan_.positions[row * grid.columns + column + i];
            group[i] = all + (position * matrices.channels + channel) * size;
          }
          multiplier_.pack(group.data(), count, matrices.size, packed);
        }
      }
    }
  }

  void multiply(const Batch& batch, Transfer& transfer) const {
    const Scalar* from[kMaxPlanes];
    Scalar* to[kMaxPlanes];
    for (int64_t t = 0; t < batch.planes; ++t) {
      from[t] = reinterpret_cast<const Scalar*>(batch.from[t]);
      to[t] = reinterpret_cast<Scalar*>(batch.to[t]);
    }
    const int64_t* offsets = offsets_.data() + batch.first_place;
    multiply_groups(batch, transfer, from, offsets, plan_.image.row_stride, to, plan_.out.row_stride);
  }

  void multiply_groups(
      const Batch& batch, Transfer& transfer, const Scalar* const* from, const int64_t* offsets, int64_t from_pitch,
      Scalar* const* to, int64_t to_pitch) const {
    const Grid& grid = plan_.grid;
    const int64_t row = batch.first_place / grid.columns, column = batch.first_place % grid.columns;
    const int64_t group = (batch.channel * grid.rows + row) * groups_ + column / multiplier_.blocks;
    const Scalar* matrices = packed_.data() + group * multiplier_.packed_size;
    const Between between{[](void* work, int64_t bytes) { static_cast<Transfer*>(work)->step(bytes); }, &transfer};
    for (int64_t i = 0; i < batch.blocks; i += multiplier_.blocks, matrices += multiplier_.packed_size) {
      const int64_t blocks = std::min(multiplier_.blocks, batch.blocks - i);
      if (ordered_) transfer.step(batch.planes * blocks * plan_.block_bytes);  // first: memory takes longer
      multiplier_.multiply(
          {batch.planes, blocks, grid.height, grid.width, from, offsets + i, from_pitch, to, i * grid.width, to_pitch,
           matrices, between});
    }
  }

  /// Images without rows: blocks are cut out into a scratch, side by side, and laid back from another.
  void multiply_apart(const Batch& batch, Transfer& transfer, Scalar* scratch) const {
    const Grid& grid = plan_.grid;
    const int64_t item = plan_.item, pitch = blocks_ * grid.width;
    const Scalar* from[kMaxPlanes];
    Scalar* to[kMaxPlanes];
    std::vector<int64_t> offsets(batch.blocks);
    for (int64_t t = 0; t < batch.planes; ++t) {
      Scalar* cut = scratch + 2 * t * line();
      from[t] = cut;
      to[t] = cut + line();
      for (int64_t i = 0; i < batch.blocks; ++i) {
        offsets[i] = i * grid.width;
        copy_any_block(
            reinterpret_cast<char*>(cut + offsets[i]), pitch * item, item, batch.from[t] + batch.offsets[i],
            plan_.from_pitch, plan_.from_step, grid.height, grid.width, item);
      }
    }
    multiply_groups(batch, transfer, from, offsets.data(), pitch, to, pitch);
    for (int64_t t = 0; t < batch.planes; ++t) {
      for (int64_t i = 0; i < batch.blocks; ++i) {
        copy_any_block(
            batch.to[t] + i * grid.width * plan_.to_step, plan_.to_pitch, plan_.to_step,
            reinterpret_cast<const char*>(to[t] + offsets[i]), pitch * item, item, grid.height, grid.width, item);
      }
    }
  }

  Multiplier<Scalar> multiplier_;
  Plan plan_;
  int64_t blocks_;  // of a step
  Tiles tiles_;
  int64_t groups_;  // of blocks multiplied together, in a band
  bool ordered_;    // sums run in order: small matrices
  AlignedVector<Scalar> packed_;
  std::vector<int64_t> offsets_;  // as the plan's, in elements
};

template <class Scalar>
void run(const MatmulTask& task) {
  const Job<Scalar> job(task);
  const int64_t grain = std::max<int64_t>(kParallelBytes / job.tiles().bytes(), 1);
  parallel_for(job.tiles().count(), grain, [&](int64_t begin, int64_t end) { job.run(begin, end); });
}

}  // namespace

void block_matmul(const MatmulTask& task, int) { (task.image.item == 4 ? run<float> : run<double>)(task); }

}  // namespace torchprotect::cpu
