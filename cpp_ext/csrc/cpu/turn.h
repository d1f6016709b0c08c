// Square tiles of a few bytes a side, cut out of rows and laid into rows: a transposition in registers.
#pragma once

#include <cstdint>

namespace torchprotect::cpu {

struct Turner {
  int64_t side;   // rows of a tile, and bytes in each
  int64_t tiles;  // turned together: no row may have fewer
  bool (*usable)();
  /// Bytes that `cut` writes for a row of so many tiles.
  int64_t (*band_bytes)(int64_t columns);
  /// Where among them it puts the tile of a column.
  int64_t (*place)(int64_t column, int64_t columns);
  /// Cut `side` rows into tiles, each in one piece.
  void (*cut)(const char* rows, int64_t pitch, int64_t columns, char* tiles);
  /// Lay the tiles at `tiles + offsets[0]`, `tiles + offsets[1]`, ... side by side into `side` rows.
  void (*lay)(const char* tiles, const int64_t* offsets, int64_t columns, char* rows, int64_t pitch);
};

#if defined(__x86_64__)
extern const Turner avx512_turner_4, avx512_turner_7, avx512_turner_8;
#endif

}  // namespace torchprotect::cpu
