// Reading images that are stored alike, at any place in any file: one call for a batch.
#include <sys/uio.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels.h"

namespace torchprotect::cpu {
namespace {

/// Where the bytes of one image go: pixels apart from what stands between them.
class Scratch {
 public:
  /// `parts`: how many bytes are no pixels, are pixels, are no pixels, and so on.
  Scratch(const int64_t* parts, int64_t count) : vectors_(count) {
    int64_t sizes[2] = {0, 0};
    for (int64_t i = 0; i < count; ++i) sizes[i % 2] += parts[i];
    for (int side : {0, 1}) memory_[side].resize(sizes[side]);
    int64_t used[2] = {0, 0};
    for (int64_t i = 0; i < count; ++i) {
      vectors_[i] = {memory_[i % 2].data() + used[i % 2], static_cast<size_t>(parts[i])};
      used[i % 2] += parts[i];
    }
  }
  const uint8_t* fixed() const { return memory_[0].data(); }
  const uint8_t* pixels() const { return memory_[1].data(); }
  size_t fixed_size() const { return memory_[0].size(); }
  size_t pixels_size() const { return memory_[1].size(); }

  /// Read one image; without rows of its own, its pixels go straight to `out`.
  bool fill(int file, int64_t offset, uint8_t* out) {
    if (out != nullptr) vectors_[1].iov_base = out;  // pixels in one part
    const auto span = static_cast<ssize_t>(fixed_size() + pixels_size());
    ssize_t found;
    do {
      found = preadv(file, vectors_.data(), static_cast<int>(vectors_.size()), offset);
    } while (found < 0 && errno == EINTR);
    return found == span;
  }

 private:
  std::vector<iovec> vectors_;
  std::vector<uint8_t> memory_[2];
};

/// Copy rows of pixels, each behind a byte that must be 0.
bool copy_rows(const uint8_t* from, uint8_t* to, int64_t size, int64_t row) {
  for (const uint8_t* end = from + size; from < end; from += 1 + row, to += row) {
    if (*from != 0) return false;
    std::memcpy(to, from + 1, row);
  }
  return true;
}

}  // namespace

/// See `torchprotect/ops/stored.py`. Returns -1, or twice the number of the first image that is not as it should be,
/// and one more if it was read in full.
int64_t read_stored(
    const int* files, const int64_t* offsets, int64_t count, const int64_t* parts, int64_t part_count,
    const uint8_t* expected, const uint8_t* matters, int64_t row, uint8_t* out) {
  Scratch scratch(parts, part_count);
  const int64_t size = scratch.pixels_size();
  const int64_t result = row == 0 ? size : size / (1 + row) * row;
  for (int64_t i = 0; i < count; ++i) {
    uint8_t* to = out + i * result;
    if (!scratch.fill(files[i], offsets[i], row == 0 ? to : nullptr)) return 2 * i;
    for (size_t byte = 0; byte < scratch.fixed_size(); ++byte) {
      if (matters[byte] && scratch.fixed()[byte] != expected[byte]) return 2 * i + 1;
    }
    if (row > 0 && !copy_rows(scratch.pixels(), to, size, row)) return 2 * i + 1;
  }
  return -1;
}

}  // namespace torchprotect::cpu
