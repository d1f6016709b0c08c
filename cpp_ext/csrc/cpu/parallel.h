// PyTorch's thread pool: as many threads as torch.set_num_threads says.
#pragma once

#include <cstdint>
#include <new>

#include "../abi/torch_abi.h"

namespace torchprotect {

/// Call `work(begin, end)` for pieces of [0, count), at least `grain` long each. `work` may throw: that arrives
/// here as an error of PyTorch's pool, and its cause can only be memory.
template <class Work>
void parallel_for(int64_t count, int64_t grain, const Work& work) {
  if (count <= grain) return work(0, count);  // a small image: no talk with the pool
  const auto run = [](int64_t begin, int64_t end, void* context) { (*static_cast<const Work*>(context))(begin, end); };
  if (torch_parallel_for(0, count, grain, run, const_cast<Work*>(&work)) != 0) throw std::bad_alloc();
}

/// Bytes of result below which a second thread costs more than it gives.
constexpr int64_t kParallelBytes = 64 * 1024;

}  // namespace torchprotect
