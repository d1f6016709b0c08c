// Tiles of 8 x 8, 7 x 7 or 4 x 4 bytes: about 64 bytes of each row make 8 or 16 tiles. A row's last tiles are turned
// with those before them, some of them twice, so that no access leaves the row.
#include <immintrin.h>

#include "level.h"
#include "turn.h"

namespace torchprotect::cpu {
namespace {

struct Eight {
  static constexpr int64_t kSide = 8, kTiles = 8, kBytes = 64;
  __m512i part[8];

  void load_rows(const char* from, int64_t pitch) {
    for (int64_t y = 0; y < kSide; ++y) part[y] = _mm512_loadu_si512(from + y * pitch);
  }
  void store_rows(char* to, int64_t pitch) const {
    for (int64_t y = 0; y < kSide; ++y) _mm512_storeu_si512(to + y * pitch, part[y]);
  }
  void load_tiles(const char* tiles, const int64_t* offsets) {
    for (int64_t i = 0; i < kTiles; ++i) part[i] = _mm512_loadu_si512(tiles + offsets[i]);
  }
  void store_tiles(char* tiles) const {
    for (int64_t i = 0; i < kTiles; ++i) _mm512_storeu_si512(tiles + i * kBytes, part[i]);
  }
  static int64_t place(int64_t tile) { return tile * kBytes; }
  /// Element i of part k becomes element k of part i.
  void turn() {
    __m512i pair[8], four[8];
    for (int i = 0; i < 8; i += 2) {
      pair[i] = _mm512_unpacklo_epi64(part[i], part[i + 1]);
      pair[i + 1] = _mm512_unpackhi_epi64(part[i], part[i + 1]);
    }
    for (int half = 0; half < 8; half += 4) {
      for (int i = half; i < half + 2; ++i) {
        four[i] = _mm512_shuffle_i64x2(pair[i], pair[i + 2], 0x88);
        four[i + 2] = _mm512_shuffle_i64x2(pair[i], pair[i + 2], 0xdd);
      }
    }
    for (int i = 0; i < 4; ++i) {
      part[i] = _mm512_shuffle_i64x2(four[i], four[i + 4], 0x88);
      part[i + 4] = _mm512_shuffle_i64x2(four[i], four[i + 4], 0xdd);
    }
  }
};

/// Seven bytes a row: an eighth is put in behind each seven, and taken out again.
struct Seven : Eight {
  static constexpr int64_t kSide = 7;
  static constexpr __mmask64 kUsed = (1ULL << kSide * kTiles) - 1;

  /// Where each byte comes from, going from runs of `from` bytes to runs of `to`; one too many is any.
  static __m512i lanes(int from, int to) {
    char place[64];
    for (int i = 0; i < 64; ++i) place[i] = static_cast<char>(i / to * from + i % to);
    return _mm512_loadu_si512(place);
  }
  void load_rows(const char* from, int64_t pitch) {
    const __m512i spread = lanes(7, 8);
    for (int64_t y = 0; y < kSide; ++y) {
      part[y] = _mm512_permutexvar_epi8(spread, _mm512_maskz_loadu_epi8(kUsed, from + y * pitch));
    }
    part[kSide] = _mm512_setzero_si512();
  }
  void store_rows(char* to, int64_t pitch) const {
    const __m512i join = lanes(8, 7);
    for (int64_t y = 0; y < kSide; ++y) {
      _mm512_mask_storeu_epi8(to + y * pitch, kUsed, _mm512_permutexvar_epi8(join, part[y]));
    }
  }
};

/// Turned inside each quarter of the registers: quarter q of part k then holds tile 4 q + k.
struct Four {
  static constexpr int64_t kSide = 4, kTiles = 16, kBytes = 16;
  __m512i part[4];

  void load_rows(const char* from, int64_t pitch) {
    for (int64_t y = 0; y < kSide; ++y) part[y] = _mm512_loadu_si512(from + y * pitch);
  }
  void store_rows(char* to, int64_t pitch) const {
    for (int64_t y = 0; y < kSide; ++y) _mm512_storeu_si512(to + y * pitch, part[y]);
  }
  void load_tiles(const char* tiles, const int64_t* offsets) {
    const auto tile = [=](int64_t i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(tiles + offsets[i])); };
    for (int64_t k = 0; k < 4; ++k) {
      const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(tile(k)), tile(k + 4), 1);
      const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(tile(k + 8)), tile(k + 12), 1);
      part[k] = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    }
  }
  void store_tiles(char* tiles) const {
    for (int64_t k = 0; k < 4; ++k) _mm512_storeu_si512(tiles + k * 64, part[k]);
  }
  static int64_t place(int64_t tile) { return tile % 4 * 64 + tile / 4 * 16; }
  void turn() {
    const __m512i a = _mm512_unpacklo_epi32(part[0], part[1]), b = _mm512_unpackhi_epi32(part[0], part[1]);
    const __m512i c = _mm512_unpacklo_epi32(part[2], part[3]), d = _mm512_unpackhi_epi32(part[2], part[3]);
    part[0] = _mm512_unpacklo_epi64(a, c);
    part[1] = _mm512_unpackhi_epi64(a, c);
    part[2] = _mm512_unpacklo_epi64(b, d);
    part[3] = _mm512_unpackhi_epi64(b, d);
  }
};

template <class Tiles>
constexpr int64_t kGroupBytes = Tiles::kTiles * Tiles::kBytes;

/// The first column of the group that begins at `column`, or begins earlier to stay inside the row.
template <class Tiles>
int64_t first_of_group(int64_t column, int64_t columns) {
  return column < columns - Tiles::kTiles ? column : columns - Tiles::kTiles;
}

template <class Tiles>
int64_t band_bytes(int64_t columns) {
  return (columns + Tiles::kTiles - 1) / Tiles::kTiles * kGroupBytes<Tiles>;
}

template <class Tiles>
int64_t place(int64_t column, int64_t columns) {
  const int64_t group = column / Tiles::kTiles;
  return group * kGroupBytes<Tiles> + Tiles::place(column - first_of_group<Tiles>(group * Tiles::kTiles, columns));
}

template <class Tiles>
void cut(const char* rows, int64_t pitch, int64_t columns, char* tiles) {
  for (int64_t column = 0; column < columns; column += Tiles::kTiles, tiles += kGroupBytes<Tiles>) {
    Tiles group;
    group.load_rows(rows + first_of_group<Tiles>(column, columns) * Tiles::kSide, pitch);
    group.turn();
    group.store_tiles(tiles);
  }
}

template <class Tiles>
void lay(const char* tiles, const int64_t* offsets, int64_t columns, char* rows, int64_t pitch) {
  for (int64_t column = 0; column < columns; column += Tiles::kTiles) {
    const int64_t first = first_of_group<Tiles>(column, columns);
    Tiles group;
    group.load_tiles(tiles, offsets + first);
    group.turn();
    group.store_rows(rows + first * Tiles::kSide, pitch);
  }
}

template <class Tiles>
constexpr Turner make_turner(bool (*usable)()) {
  return {Tiles::kSide, Tiles::kTiles, usable, band_bytes<Tiles>, place<Tiles>, cut<Tiles>, lay<Tiles>};
}

}  // namespace

const Turner avx512_turner_4 = make_turner<Four>(may_use_avx512);
const Turner avx512_turner_7 = make_turner<Seven>(may_use_vbmi);
const Turner avx512_turner_8 = make_turner<Eight>(may_use_avx512);

}  // namespace torchprotect::cpu
