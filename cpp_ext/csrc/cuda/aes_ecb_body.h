// AES-ECB on blocks of an image: the work of one thread.
//
// Rounds are table look-ups at addresses that depend on the data. So this is not constant-time: another process on the
// same GPU may learn about keys.
#pragma once

#include "aes_tables.h"
#include "indexing.h"
#include "memory.h"

namespace torchprotect::cuda {

// The table in shared memory has, for each byte, a row of 64 words: its column once for each of the 32 lanes of a warp,
// and that column rotated by 16 bits as often. Each lane keeps to its own bank, so a warp's look-ups never collide, and
// the offset of a word is made of the byte and the lane by one instruction.
constexpr int kLanes = 32;
constexpr int kTableWords = 256 * 2 * kLanes;

TORCHPROTECT_HD inline uint32_t table_word(const SBoxes& boxes, int index, bool decrypt) {
  const uint32_t column = column_of(boxes, index / (2 * kLanes), decrypt);
  return index & kLanes ? rotate(column, 16) : column;
}

// Round keys

/// How keys are expanded: `[rounds + 1][keys]` words of 16 bytes, so that neighbouring keys are neighbours in a round.
struct KeyParams {
  const uint8_t* keys;
  Quad* round_keys;
  int64_t count, size;  // size: bytes of a key
  bool decrypt;         // for the equivalent inverse cipher (FIPS 197, 5.3.5), in the order of use

  KeyParams(const AesTask& task, void* scratch)
      : keys(static_cast<const uint8_t*>(task.keys.data)), round_keys(static_cast<Quad*>(scratch)),
        count(task.grid.positions() * task.keys.channels), size(task.keys.size), decrypt(task.decrypt) {}

  TORCHPROTECT_HD int rounds() const { return static_cast<int>(size / 4) + 6; }
  int64_t bytes() const { return (rounds() + 1) * count * static_cast<int64_t>(sizeof(Quad)); }

  TORCHPROTECT_HD void put(int64_t key, int i, uint32_t word) const {
    const int round = i / 4, last = rounds();
    if (decrypt && round > 0 && round < last) word = unmix(word);
    round_keys[(decrypt ? last - round : round) * count + key].word[i % 4] = word;
  }
};

TORCHPROTECT_HD inline uint32_t substitute(const SBoxes& boxes, uint32_t word) {
  return boxes.forward[word & 0xff] | uint32_t{boxes.forward[word >> 8 & 0xff]} << 8 |
         uint32_t{boxes.forward[word >> 16 & 0xff]} << 16 | uint32_t{boxes.forward[word >> 24]} << 24;
}

/// Expand key `index` of `kWords` words (FIPS 197, 5.2).
template <int kWords>
TORCHPROTECT_HD inline void expand_key(const KeyParams& params, const SBoxes& boxes, int64_t index) {
  uint32_t words[kWords], constant = 1;
  TORCHPROTECT_UNROLL
  for (int i = 0; i < kWords; ++i) {
    const uint8_t* from = params.keys + (index * kWords + i) * 4;
    words[i] = from[0] | uint32_t{from[1]} << 8 | uint32_t{from[2]} << 16 | uint32_t{from[3]} << 24;
    params.put(index, i, words[i]);
  }
  const int count = 4 * (params.rounds() + 1);
  for (int first = kWords; first < count; first += kWords, constant = twice(constant)) {
    TORCHPROTECT_UNROLL
    for (int i = 0; i < kWords; ++i) {
      uint32_t word = words[(i + kWords - 1) % kWords];
      if (i == 0) word = substitute(boxes, rotate(word, 24)) ^ constant;
      if (kWords == 8 && i == 4) word = substitute(boxes, word);
      words[i] ^= word;
      if (first + i < count) params.put(index, first + i, words[i]);
    }
  }
}

// Units

/// How the work is divided among threads: each takes the same unit of up to `kUnits` images, all under one key.
constexpr int kUnits = 4;

struct AesParams {
  View from, to;
  Cells<uint64_t> cells;  // columns: units, row-major inside a block, block after block
  Divisor<uint64_t> by_units, by_width;
  Origins<uint64_t> origins;
  int64_t height, width;  // of a block
  int64_t key_channels, key_count;
  const Quad* round_keys;
  int rounds, images;  // images: of a thread
  int piece;           // bytes that can be copied at once

  /// With fewer threads than `enough`, none takes more than one image.
  AesParams(const AesTask& task, const void* expanded, int64_t enough = int64_t{1} << 17)
      : from(task.image), to(task.out), origins(task.order, task.grid), height(task.grid.height),
        width(task.grid.width), key_channels(task.keys.channels), key_count(task.grid.positions() * key_channels),
        round_keys(static_cast<const Quad*>(expanded)), rounds(static_cast<int>(task.keys.size / 4) + 6) {
    const int64_t units = height * width / 16, groups = (to.outer + kUnits - 1) / kUnits;
    const bool is_full = 5 * to.outer >= 4 * groups * kUnits;  // few threads have fewer images
    images = is_full && groups * to.channels * task.grid.positions() * units >= enough ? kUnits : 1;
    cells = Cells<uint64_t>(
        images == 1 ? to.outer : groups, to.channels, task.grid.rows, task.grid.columns * units, to.channels_last());
    by_units = Divisor<uint64_t>(units);
    by_width = Divisor<uint64_t>(width);
    const bool by_row = from.has_rows() && to.has_rows();
    const int64_t wide = std::min({row_alignment(from), row_alignment(to), widest(width)});
    piece = by_row && wide >= 4 ? static_cast<int>(wide) : 1;
  }
};

/// Where the bytes of a unit are in a view, piece by piece.
class UnitWalk {
 public:
  TORCHPROTECT_HD UnitWalk(const View& view, int64_t width, const Parts<uint64_t>& start)
      : step_(view.column_step), turn_(view.row_step - width * view.column_step), width_(width),
        x_(static_cast<int64_t>(start.remainder)),
        offset_(static_cast<int64_t>(start.quotient) * view.row_step + x_ * view.column_step) {}

  TORCHPROTECT_HD int64_t offset() const { return offset_; }
  TORCHPROTECT_HD void advance(int columns) {
    x_ += columns;
    offset_ += columns * step_;
    if (x_ == width_) {
      x_ = 0;
      offset_ += turn_;
    }
  }

 private:
  int64_t step_, turn_, width_, x_, offset_;
};

template <int kPiece, int kImages>
TORCHPROTECT_HD inline void load_units(const char* from, int64_t image_step, int images, UnitWalk walk, Chunk* state) {
  TORCHPROTECT_UNROLL
  for (int at = 0; at < 16; at += kPiece, walk.advance(kPiece)) {
    TORCHPROTECT_UNROLL
    for (int i = 0; i < kImages; ++i) {
      if (i < images) Piece<kPiece>::load(from + i * image_step + walk.offset(), state[i], at);
    }
  }
}

template <int kPiece, int kImages>
TORCHPROTECT_HD inline void store_units(char* to, int64_t image_step, int images, UnitWalk walk, const Chunk* state) {
  TORCHPROTECT_UNROLL
  for (int at = 0; at < 16; at += kPiece, walk.advance(kPiece)) {
    TORCHPROTECT_UNROLL
    for (int i = 0; i < kImages; ++i) {
      if (i < images) Piece<kPiece>::store(to + i * image_step + walk.offset(), state[i], at);
    }
  }
}

/// One lane's view of the table.
class Lookup {
 public:
  TORCHPROTECT_HD Lookup(const uint32_t* table, uint32_t lane)
      : table_(reinterpret_cast<const char*>(table)), lane_offset_(4 * lane) {}

  TORCHPROTECT_HD uint32_t plain(uint32_t word, int byte) const { return at(offset(word, byte)); }
  TORCHPROTECT_HD uint32_t turned(uint32_t word, int byte) const { return at(offset(word, byte) + 4 * kLanes); }

 private:
  TORCHPROTECT_HD uint32_t at(uint32_t offset) const { return *reinterpret_cast<const uint32_t*>(table_ + offset); }
  TORCHPROTECT_HD uint32_t offset(uint32_t word, int byte) const {
#if defined(__CUDA_ARCH__)
    return __byte_perm(word, lane_offset_, 0x5504 | byte << 4);
#else
    return (word >> 8 * byte & 0xff) << 8 | lane_offset_;
#endif
  }
  const char* table_;
  uint32_t lane_offset_;
};

/// A byte of each of four words, the first word's lowest.
TORCHPROTECT_HD inline uint32_t pick(uint32_t a, uint32_t b, uint32_t c, uint32_t d, int byte) {
  const int shift = 8 * byte;
  return (a >> shift & 0xff) | (b >> shift & 0xff) << 8 | (c >> shift & 0xff) << 16 | (d >> shift & 0xff) << 24;
}

/// SubBytes from the table: (2, 1, 1, 3) times a value shows it in the second byte, and the sum of (14, 9, 13, 11)
/// times a value is that value.
template <bool kDecrypt>
TORCHPROTECT_HD inline uint32_t substituted(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  if (!kDecrypt) return pick(a, b, c, d, 1);
  return pick(a, b, c, d, 0) ^ pick(a, b, c, d, 1) ^ pick(a, b, c, d, 2) ^ pick(a, b, c, d, 3);
}

/// One round of one unit. ShiftRows takes row r of a column from r columns to the right, or, backwards, to the left.
template <bool kDecrypt, bool kLast>
TORCHPROTECT_HD inline void run_round(Chunk& state, const Quad& key, const Lookup& lookup) {
  constexpr int kStep = kDecrypt ? 3 : 1;
  const Chunk old = state;
  TORCHPROTECT_UNROLL
  for (int i = 0; i < 4; ++i) {
    const uint32_t a = lookup.plain(old.word[i], 0), b = lookup.plain(old.word[(i + kStep) % 4], 1);
    if (kLast) {
      const uint32_t c = lookup.plain(old.word[(i + 2) % 4], 2), d = lookup.plain(old.word[(i + 3 * kStep) % 4], 3);
      state.word[i] = substituted<kDecrypt>(a, b, c, d) ^ key.word[i];
    } else {
      const uint32_t c = lookup.turned(old.word[(i + 2) % 4], 2), d = lookup.turned(old.word[(i + 3 * kStep) % 4], 3);
      state.word[i] = a ^ c ^ key.word[i] ^ rotate(b ^ d, 8);
    }
  }
}

/// Run the cipher over `kImages` units under one key.
template <bool kDecrypt, int kImages>
TORCHPROTECT_HD inline void crypt(const AesParams& params, const Quad* key, const Lookup& lookup, Chunk* state) {
  Quad now = load<Quad>(key);
  TORCHPROTECT_UNROLL
  for (int i = 0; i < kImages; ++i) {
    for (int column = 0; column < 4; ++column) state[i].word[column] ^= now.word[column];
  }
  TORCHPROTECT_KEEP_LOOP
  for (int round = 1; round < params.rounds; ++round) {
    now = load<Quad>(key += params.key_count);
    TORCHPROTECT_UNROLL
    for (int i = 0; i < kImages; ++i) run_round<kDecrypt, false>(state[i], now, lookup);
  }
  now = load<Quad>(key + params.key_count);
  TORCHPROTECT_UNROLL
  for (int i = 0; i < kImages; ++i) run_round<kDecrypt, true>(state[i], now, lookup);
}

/// Encrypt or decrypt unit `index` of the result, of up to `kImages` images.
template <bool kDecrypt, int kImages>
TORCHPROTECT_HD inline void crypt_units(const AesParams& params, int64_t index, const Lookup& lookup) {
  const Cell<uint64_t> cell = params.cells.at(index);
  const auto unit = params.by_units.split(cell.column);
  const auto start = params.by_width.split(unit.remainder * 16);
  const Origin<uint64_t> origin = params.origins.of(cell.row, unit.quotient);
  const int64_t first = cell.outer * kImages, left = params.to.outer - first;
  const int images = left < kImages ? static_cast<int>(left) : kImages;
  Chunk state[kImages];
  if (origin.found) {
    const char* from = params.from.at(first, cell.channel, origin.row * params.height, origin.column * params.width);
    const UnitWalk walk(params.from, params.width, start);
    switch (params.piece) {
      case 16: load_units<16, kImages>(from, params.from.outer_step, images, walk, state); break;
      case 8: load_units<8, kImages>(from, params.from.outer_step, images, walk, state); break;
      case 4: load_units<4, kImages>(from, params.from.outer_step, images, walk, state); break;
      default: load_units<1, kImages>(from, params.from.outer_step, images, walk, state);
    }
    const uint64_t key = origin.position * params.key_channels + (params.key_channels > 1 ? cell.channel : 0);
    crypt<kDecrypt, kImages>(params, params.round_keys + key, lookup, state);
  }
  char* to = params.to.at(first, cell.channel, cell.row * params.height, unit.quotient * params.width);
  const UnitWalk walk(params.to, params.width, start);
  switch (params.piece) {
    case 16: return store_units<16, kImages>(to, params.to.outer_step, images, walk, state);
    case 8: return store_units<8, kImages>(to, params.to.outer_step, images, walk, state);
    case 4: return store_units<4, kImages>(to, params.to.outer_step, images, walk, state);
    default: store_units<1, kImages>(to, params.to.outer_step, images, walk, state);
  }
}

}  // namespace torchprotect::cuda
