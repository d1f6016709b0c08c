// Permuting blocks. Types do not matter, so it copies elements by their size in bytes.
//
// The result is written front to back, band by band and block by block. Reads are scattered over one plane:
// while one is worked on, the next is fetched, or also cut into blocks where their rows are short. A large result is
// put together in a scratch of a few kilobytes and streamed from there, so that no cache line of it is read before it
// is overwritten.
#include "blocks.h"
#include "cut.h"
#include "kernels.h"
#include "parallel.h"

namespace torchprotect::cpu {
namespace {

constexpr int64_t kStepBytes = 256;  // result bytes between two rounds of fetching and streaming

/// If the channels of each pixel are contiguous, treat a pixel as one larger element, without channels.
void merge_channels(Image& image) {
  image.item *= image.channels;
  image.outer_stride /= image.channels;
  image.row_stride /= image.channels;
  image.column_stride = 1;
  image.channels = 1;
  image.channel_stride = 0;
}

bool is_channels_last(const Image& image) {
  const int64_t c = image.channels;
  return c > 1 && image.channel_stride == 1 && image.column_stride == c && image.row_stride % c == 0 &&
         image.outer_stride % c == 0;
}

/// Write one band from blocks of the plane `source`; prefetch `ahead` meanwhile, unless it is null.
template <int kRun, bool kLoose>
TORCHPROTECT_ALONE void make_band(
    const Plan& plan, const char* source, int64_t row, char* band, const char* ahead, Writer& writer) {
  const bool near = plan.grid.rows * plan.band_bytes <= kNearBytes;
  int64_t made = 0;
  const auto step = [&] {
    if (ahead != nullptr) {
      prefetch(ahead, made, near);
      ahead += made;
    }
    writer.step(made);
    made = 0;
  };
  const auto pause = [&](int64_t bytes) {
    made += bytes;
    if (made >= kStepBytes) step();
  };
  lay_blocks<kRun, kLoose>(
      band, plan.to_pitch, source, plan.from_pitch, plan.offsets.data() + row * plan.grid.columns, plan.grid.columns,
      plan.grid.height, plan.run, pause);
  step();
}

/// Write bands [begin, end), counted over all planes.
template <int kRun>
void make_bands(const Plan& plan, int64_t begin, int64_t end) {
  const int64_t rows = plan.grid.rows;
  Writer writer(plan, std::max<int64_t>(kTileBytes / plan.band_bytes, 1) * plan.band_bytes);
  for (int64_t plane = begin / rows; plane * rows < end; ++plane) {
    const bool last = plane + 1 == plan.planes;
    const char *source = plan.source(plane), *next = plan.fetchable() && !last ? plan.source(plane + 1) : nullptr;
    char* target = plan.target(plane);
    const int64_t first_row = std::max<int64_t>(begin - plane * rows, 0), end_row = std::min(end - plane * rows, rows);
    for (int64_t row = first_row; row < end_row; ++row) {
      writer.begin(plan.band_bytes);
      char* band = writer.place(target + row * plan.grid.height * plan.to_pitch, plan.band_bytes);
      const char* ahead = next == nullptr ? nullptr : next + row * plan.band_bytes;
      if (loose(kRun) > kRun && plan.packed && !last) {
        make_band<kRun, true>(plan, source, row, band, ahead, writer);
      } else {
        make_band<kRun, false>(plan, source, row, band, ahead, writer);
      }
    }
  }
  writer.finish();
}

/// Write blocks [begin, end), counted over all planes, of images of any strides.
void make_blocks(const Plan& plan, int64_t begin, int64_t end) {
  const Grid& grid = plan.grid;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t plane = i / grid.positions(), place = i % grid.positions();
    char* to = plan.target(plane) + place / grid.columns * grid.height * plan.to_pitch +
               place % grid.columns * grid.width * plan.to_step;
    const char* from = plan.source(plane) + plan.offsets[place];
    copy_any_block(
        to, plan.to_pitch, plan.to_step, from, plan.from_pitch, plan.from_step, grid.height, grid.width, plan.item);
  }
}

/// How to cut planes into tiles first; null if one pass is as fast, or no turner exists for tiles of this size.
const Turner* find_turner(const Plan& plan) {
#if defined(__x86_64__)
  if (!plan.streamed || !plan.fetchable() || plan.grid.rows * plan.band_bytes <= kNearBytes) return nullptr;
  for (const Turner* turner : {&avx512_turner_4, &avx512_turner_7, &avx512_turner_8}) {
    const bool fits = plan.run == turner->side && plan.grid.height % turner->side == 0;
    if (fits && plan.grid.columns >= turner->tiles && turner->usable()) return turner;
  }
#endif
  return nullptr;
}

}  // namespace

void block_permute(const PermuteTask& task, int) {
  Image image = task.image, out = task.out;
  if (is_channels_last(image) && is_channels_last(out)) {
    merge_channels(image);
    merge_channels(out);
  }
  const Plan plan(image, out, task.grid, task.order);
  if (const Turner* turner = find_turner(plan)) {
    const Plan tiles(image, out, task.grid, task.order, task.grid.height / turner->side);
    const CutPlanes cut(tiles, *turner);
    parallel_for(plan.planes, 1, [&](int64_t begin, int64_t end) { cut.make(begin, end); });
  } else if (plan.has_rows()) {
    const int64_t grain = std::max<int64_t>(kParallelBytes / plan.band_bytes, 1);
    parallel_for(plan.planes * plan.grid.rows, grain, [&](int64_t begin, int64_t end) {
      with_run(plan.run, [&](auto run) { make_bands<run.value>(plan, begin, end); });
    });
  } else {
    const int64_t grain = std::max<int64_t>(kParallelBytes / plan.block_bytes, 1);
    parallel_for(
        plan.planes * plan.grid.positions(), grain, [&](int64_t begin, int64_t end) { make_blocks(plan, begin, end); });
  }
}

}  // namespace torchprotect::cpu
