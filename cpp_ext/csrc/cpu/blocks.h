// Copying blocks: out of an image, into a band of rows, or into one piece. By element size, so all is bytes here.
#pragma once

#include <cstring>
#include <type_traits>

#include "plan.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

// Hot loops stand alone: inlined into what surrounds them they lose the registers they need.
#if defined(__GNUC__)
#define TORCHPROTECT_ALONE __attribute__((noinline))
#else
#define TORCHPROTECT_ALONE
#endif

namespace torchprotect::cpu {

/// Call `work` with the run's bytes as a constant, or 0 where it is none of the usual ones: copying a number of bytes
/// known to the compiler takes one or two instructions.
template <class Work>
void with_run(int64_t run, const Work& work) {
#define TORCHPROTECT_RUN(bytes) \
  case bytes: return work(std::integral_constant<int, bytes>());
  switch (run) {
    TORCHPROTECT_RUN(1)
    TORCHPROTECT_RUN(2)
    TORCHPROTECT_RUN(3)
    TORCHPROTECT_RUN(4)
    TORCHPROTECT_RUN(5)
    TORCHPROTECT_RUN(6)
    TORCHPROTECT_RUN(7)
    TORCHPROTECT_RUN(8)
    TORCHPROTECT_RUN(12)
    TORCHPROTECT_RUN(14)
    TORCHPROTECT_RUN(16)
    TORCHPROTECT_RUN(28)
    TORCHPROTECT_RUN(32)
    TORCHPROTECT_RUN(64)
    default: return work(std::integral_constant<int, 0>());
  }
#undef TORCHPROTECT_RUN
}

/// How many bytes to move for a run of `bytes`, where those behind it may be read, and written to be overwritten later.
constexpr int loose(int bytes) {
  return bytes == 3 ? 4 : bytes > 4 && bytes < 8 ? 8 : bytes > 8 && bytes < 16 ? 16 : bytes;
}

/// Copy `height` runs of `kRun` bytes (of `run`, where that is 0) between rows `from_pitch` and `to_pitch` apart.
template <int kRun, bool kLoose = false>
inline void copy_block(char* to, int64_t to_pitch, const char* from, int64_t from_pitch, int64_t height, int64_t run) {
  for (int64_t y = 0; y < height; ++y, to += to_pitch, from += from_pitch) {
    std::memcpy(to, from, kRun == 0 ? run : kLoose ? loose(kRun) : kRun);
  }
}

/// Copy a block of any strides: by rows where both sides have them, by elements otherwise.
TORCHPROTECT_ALONE inline void copy_any_block(
    char* to, int64_t to_pitch, int64_t to_step, const char* from, int64_t from_pitch, int64_t from_step,
    int64_t height, int64_t width, int64_t item) {
  if (to_step == item && from_step == item) {
    with_run(
        width * item, [=](auto run) { copy_block<run.value>(to, to_pitch, from, from_pitch, height, width * item); });
    return;
  }
  for (int64_t y = 0; y < height; ++y, to += to_pitch, from += from_pitch) {
    for (int64_t x = 0; x < width; ++x) std::memcpy(to + x * to_step, from + x * from_step, item);
  }
}

/// Runs that fill a register together: as many copies, a quarter or half of the stores.
template <int kRun>
constexpr int64_t kJoined = 1;

#if defined(__SSE2__)
template <>
constexpr int64_t kJoined<4> = 4;
template <>
constexpr int64_t kJoined<8> = 2;

inline int load4(const char* from) {
  int value;
  std::memcpy(&value, from, 4);
  return value;
}

inline long long load8(const char* from) {
  long long value;
  std::memcpy(&value, from, 8);
  return value;
}

/// Write the runs at `from[0]`, `from[1]`, ... side by side, 16 bytes in all.
template <int kRun>
inline void join(char* to, const char* const* from) {
  __m128i row;
  if constexpr (kRun == 4) {
    row = _mm_set_epi32(load4(from[3]), load4(from[2]), load4(from[1]), load4(from[0]));
  } else {
    row = _mm_set_epi64x(load8(from[1]), load8(from[0]));
  }
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), row);
}
#else
template <int kRun>
inline void join(char*, const char* const*) {}
#endif

/// Lay the blocks at `from + offsets[0]`, `from + offsets[1]`, ... side by side into rows; call `pause(bytes)` after
/// every few of them. `kLoose`: up to 15 bytes behind each run may be read, and behind each but the last be written.
template <int kRun, bool kLoose, class Pause>
inline void lay_blocks(
    char* to, int64_t to_pitch, const char* from, int64_t from_pitch, const int64_t* offsets, int64_t count,
    int64_t height, int64_t run, const Pause& pause) {
  constexpr int64_t kEach = kJoined<kRun>;
  int64_t i = 0;
  if constexpr (kEach > 1) {
    for (; i + kEach <= count; i += kEach) {
      const char* runs[kEach];
      for (int64_t k = 0; k < kEach; ++k) runs[k] = from + offsets[i + k];
      char* row = to + i * kRun;
      for (int64_t y = 0; y < height; ++y, row += to_pitch) {
        join<kRun>(row, runs);
        for (int64_t k = 0; k < kEach; ++k) runs[k] += from_pitch;
      }
      pause(kEach * kRun * height);
    }
  }
  for (; i < count; ++i) {
    if (kLoose && i + 1 < count) {
      copy_block<kRun, true>(to + i * run, to_pitch, from + offsets[i], from_pitch, height, run);
    } else {
      copy_block<kRun>(to + i * run, to_pitch, from + offsets[i], from_pitch, height, run);
    }
    pause(run * height);
  }
}

}  // namespace torchprotect::cpu
