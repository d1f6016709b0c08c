// AES (FIPS 197) on the CPU: one interface, three ways to run it.
#pragma once

#include <cstdint>
#include <cstring>

namespace torchprotect::cpu {

constexpr int kUnitBytes = 16;
constexpr int kMaxScheduleBytes = 16 * 15;

constexpr int rounds_of(int64_t key_bytes) { return static_cast<int>(key_bytes / 4) + 6; }

/// Where units lie: `strips` runs of `count` units, `pitch` bytes from one to the next, `strip` from run to run.
struct Layout {
  int64_t pitch, strip;
};

/// The units of one step: those of `planes` planes, read at `from[t]` in one layout and written at `to[t]` in another.
struct Units {
  int64_t planes, strips, count;
  const char* const* from;
  Layout reads;
  char* const* to;
  Layout writes;
};

/// A row of narrow blocks that are 16 bytes wide together, or fewer at the edge of the image, in several planes.
struct Narrow {
  int64_t planes, blocks, run, height;  // `run` is 4 or 8; `height` is a multiple of 4
  const char* const* from;              // for each plane
  const int64_t* offsets;               // for each block
  int64_t from_pitch;
  char* const* to;  // for each plane: its first block
  int64_t to_pitch;
};

/// A way to run the cipher. A schedule is `rounds + 1` round keys in the order the direction uses them; for decryption
/// that of the equivalent inverse cipher (FIPS 197, 5.3.5).
struct Cipher {
  int64_t lanes;  // units worked on together: `one_key` takes multiples of it
  void (*expand)(const uint8_t* key, int64_t bytes, bool decrypt, uint8_t* schedule);
  void (*one_key)(const uint8_t* schedule, int rounds, bool decrypt, const Units& units);
  /// `lanes` units a plane, each under a schedule of its own. Null where there is one lane.
  void (*key_per_lane)(const uint8_t* const* schedules, int rounds, bool decrypt, const Units& units);
  /// Narrow blocks, a schedule for each. Null where that is no faster than cutting units out and laying them back.
  void (*narrow)(const uint8_t* const* schedules, int rounds, bool decrypt, const Narrow& blocks);
};

extern const Cipher portable_cipher;  // look-up tables: not constant-time
#if defined(__x86_64__)
extern const Cipher aesni_cipher;
extern const Cipher vaes_cipher;
#endif

/// Call `work(from, to)` for every `kEach`-th unit.
template <int kEach, class Work>
inline void for_each_unit(const Units& units, const Work& work) {
  for (int64_t plane = 0; plane < units.planes; ++plane) {
    for (int64_t strip = 0; strip < units.strips; ++strip) {
      const char* from = units.from[plane] + strip * units.reads.strip;
      char* to = units.to[plane] + strip * units.writes.strip;
      for (int64_t u = 0; u < units.count; u += kEach) {
        work(from, to);
        from += kEach * units.reads.pitch;
        to += kEach * units.writes.pitch;
      }
    }
  }
}

/// Expand a key for encryption. `substitute` applies the S-box to the four bytes of a word.
template <class Substitute>
inline void expand_forward(const uint8_t* key, int64_t bytes, uint8_t* schedule, const Substitute& substitute) {
  const int length = static_cast<int>(bytes / 4), total = 4 * (rounds_of(bytes) + 1);
  uint32_t words[kMaxScheduleBytes / 4];  // a word's lowest byte is the first in memory
  std::memcpy(words, key, bytes);
  uint32_t constant = 1;
  for (int i = length, phase = 0; i < total; ++i, phase = phase + 1 == length ? 0 : phase + 1) {
    uint32_t word = words[i - 1];
    if (phase == 0) {
      word = substitute(word >> 8 | word << 24) ^ constant;
      constant = constant << 1 ^ (constant & 0x80 ? 0x11b : 0);
    } else if (length == 8 && phase == 4) {
      word = substitute(word);
    }
    words[i] = words[i - length] ^ word;
  }
  std::memcpy(schedule, words, total * sizeof(uint32_t));
}

}  // namespace torchprotect::cpu
