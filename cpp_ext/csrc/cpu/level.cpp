#include "level.h"

#include <algorithm>
#include <atomic>

namespace torchprotect::cpu {
namespace {

std::atomic<Level> limit{Level::avx512};

struct Machine {
  bool avx2 = false, avx512 = false, vbmi = false, aesni = false, vaes = false;
#if defined(__x86_64__)
  Machine() {
    __builtin_cpu_init();
    avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    vbmi = avx512 && __builtin_cpu_supports("avx512vbmi");
    aesni = __builtin_cpu_supports("aes") && __builtin_cpu_supports("sse4.1");
    vaes = avx512 && aesni && __builtin_cpu_supports("vaes");
  }
#endif
};

const Machine& machine() {
  static const Machine found;
  return found;
}

}  // namespace

Level limit_level(Level wanted) {
  limit = wanted;
  const Level best = machine().avx512 ? Level::avx512 : machine().avx2 ? Level::avx2 : Level::portable;
  return std::min(wanted, best);
}

bool may_use_avx2() { return limit.load() >= Level::avx2 && machine().avx2; }
bool may_use_avx512() { return limit.load() >= Level::avx512 && machine().avx512; }
bool may_use_vbmi() { return limit.load() >= Level::avx512 && machine().vbmi; }
bool may_use_aesni() { return limit.load() >= Level::avx2 && machine().aesni; }
bool may_use_vaes() { return limit.load() >= Level::avx512 && machine().vaes; }

}  // namespace torchprotect::cpu
