// Loads and stores of 1 to 16 bytes, each one instruction of the GPU.
#pragma once

#include <cstdint>
#include <cstring>
#if !defined(__CUDA_ARCH__)
#include <stdexcept>
#endif

#include "host_device.h"

namespace torchprotect::cuda {

struct alignas(16) Quad {
  uint32_t word[4];
};

/// Read memory that is not written during the kernel.
template <class T>
TORCHPROTECT_HD inline T load(const void* from) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) == sizeof(Quad)) {
    const uint4 value = __ldg(static_cast<const uint4*>(from));
    return {{value.x, value.y, value.z, value.w}};
  } else {
    return __ldg(static_cast<const T*>(from));
  }
#else
  if (reinterpret_cast<uintptr_t>(from) % sizeof(T) != 0) throw std::logic_error("misaligned load");
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
#endif
}

template <class T>
TORCHPROTECT_HD inline void store(void* to, const T& value) {
#if defined(__CUDA_ARCH__)
  *static_cast<T*>(to) = value;
#else
  if (reinterpret_cast<uintptr_t>(to) % sizeof(T) != 0) throw std::logic_error("misaligned store");
  std::memcpy(to, &value, sizeof value);
#endif
}

TORCHPROTECT_HD inline float as_float(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

/// Up to 16 bytes in registers, first byte lowest. Bytes are put into a chunk that was zero there.
struct Chunk {
  uint32_t word[4] = {0, 0, 0, 0};
};

template <int kBytes>
struct Piece;

template <class T>
struct SmallPiece {  // at most a word
  TORCHPROTECT_HD static void load(const char* from, Chunk& chunk, int at) {
    chunk.word[at / 4] |= static_cast<uint32_t>(cuda::load<T>(from)) << at % 4 * 8;
  }
  TORCHPROTECT_HD static void store(char* to, const Chunk& chunk, int at) {
    cuda::store(to, static_cast<T>(chunk.word[at / 4] >> at % 4 * 8));
  }
};

template <>
struct Piece<1> : SmallPiece<uint8_t> {};
template <>
struct Piece<2> : SmallPiece<uint16_t> {};
template <>
struct Piece<4> : SmallPiece<uint32_t> {};

template <>
struct Piece<8> {
  TORCHPROTECT_HD static void load(const char* from, Chunk& chunk, int at) {
    const uint64_t value = cuda::load<uint64_t>(from);
    chunk.word[at / 4] = static_cast<uint32_t>(value);
    chunk.word[at / 4 + 1] = static_cast<uint32_t>(value >> 32);
  }
  TORCHPROTECT_HD static void store(char* to, const Chunk& chunk, int at) {
    cuda::store(to, chunk.word[at / 4] | uint64_t{chunk.word[at / 4 + 1]} << 32);
  }
};

template <>
struct Piece<16> {
  TORCHPROTECT_HD static void load(const char* from, Chunk& chunk, int) {
    const Quad value = cuda::load<Quad>(from);
    for (int i = 0; i < 4; ++i) chunk.word[i] = value.word[i];
  }
  TORCHPROTECT_HD static void store(char* to, const Chunk& chunk, int) {
    cuda::store(to, Quad{{chunk.word[0], chunk.word[1], chunk.word[2], chunk.word[3]}});
  }
};

}  // namespace torchprotect::cuda
