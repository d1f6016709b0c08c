// What Python calls after loading the library.
#include <cstdio>
#include <exception>

#include "../operators.h"
#include "kernels.h"
#include "level.h"

extern "C" {

/// Register the kernels; 0 when all went well. Errors are PyTorch's and printed by it.
__attribute__((visibility("default"))) int torchprotect_register() {
  try {
    torchprotect::register_kernels(
        {"CPU", true, torchprotect::cpu::block_permute, torchprotect::cpu::aes_ecb, torchprotect::cpu::block_matmul});
    return 0;
  } catch (const std::exception&) {
    return 1;
  }
}

/// Use no instructions above this level (see level.h), or of the machine when it has less; returns the level in use.
__attribute__((visibility("default"))) int torchprotect_limit_cpu_level(int level) {
  return static_cast<int>(torchprotect::cpu::limit_level(static_cast<torchprotect::cpu::Level>(level)));
}

/// Read images that are stored alike; see read_stored.cpp. -2: there is no memory.
__attribute__((visibility("default"))) int64_t torchprotect_read_stored(
    const int* files, const int64_t* offsets, int64_t count, const int64_t* parts, int64_t part_count,
    const uint8_t* expected, const uint8_t* matters, int64_t row, uint8_t* out) {
  try {
    return torchprotect::cpu::read_stored(files, offsets, count, parts, part_count, expected, matters, row, out);
  } catch (const std::exception&) {
    return -2;
  }
}

}  // extern "C"
