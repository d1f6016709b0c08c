// Moving rows of bytes: fetched ahead, and written past the caches when a result is larger than they are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "level.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace torchprotect::cpu {

/// Results from this size on are written past the caches: a plain store would read each line before overwriting it.
constexpr int64_t kStreamBytes = 8 * 1024 * 1024;
constexpr int64_t kLineBytes = 64;

/// Fetch into the first cache, or where `near` is false into the second.
inline void prefetch(const char* from, int64_t bytes, bool near) {
#if defined(__GNUC__)
  __asm__ volatile("");  // an effect: GCC drops calls of functions that only fetch
  if (near) {
    for (int64_t i = 0; i < bytes; i += kLineBytes) __builtin_prefetch(from + i, 0, 3);
  } else {
    for (int64_t i = 0; i < bytes; i += kLineBytes) __builtin_prefetch(from + i, 0, 2);
  }
#endif
}

#if defined(__x86_64__)
/// A whole line in one store: parts of it would be written out early when other stores come between them.
__attribute__((target("avx512f"))) inline void write_whole_lines(char* to, const char* from, int64_t count) {
  for (int64_t i = 0; i < count * kLineBytes; i += kLineBytes) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i), _mm512_loadu_si512(from + i));
  }
}

inline void write_lines(char* to, const char* from, int64_t count) {
  if (may_use_avx512()) return write_whole_lines(to, from, count);
  for (int64_t i = 0; i < count * kLineBytes; i += 16) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + i), _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i)));
  }
}
#else
inline void write_lines(char* to, const char* from, int64_t count) { std::memcpy(to, from, count * kLineBytes); }
#endif

/// Wait until streamed lines are in memory, before another thread may look.
inline void finish_streaming() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

/// A `memcpy` past the caches, done in steps between other work: memory then writes while the core computes.
class Stream {
 public:
  /// Copy what comes before the first whole line; the rest waits for `step` and `finish`. `from` must stay as it is.
  void begin(char* to, const char* from, int64_t bytes) {
    const int64_t head = std::min<int64_t>(bytes, -reinterpret_cast<intptr_t>(to) & (kLineBytes - 1));
    std::memcpy(to, from, head);
    to_ = to + head;
    from_ = from + head;
    left_ = bytes - head;
  }
  /// Copy up to so many lines; returns how many more there could have been.
  int64_t step(int64_t lines) {
    const int64_t count = std::min(lines, left_ / kLineBytes);
    write_lines(to_, from_, count);
    to_ += count * kLineBytes;
    from_ += count * kLineBytes;
    left_ -= count * kLineBytes;
    return lines - count;
  }
  void finish() {
    step(left_ / kLineBytes);
    if (left_ > 0) std::memcpy(to_, from_, left_);
    left_ = 0;
  }

 private:
  char* to_ = nullptr;
  const char* from_ = nullptr;
  int64_t left_ = 0;
};

}  // namespace torchprotect::cpu
