// Permuting blocks.
#include "block_permute_body.h"
#include "kernels.h"
#include "launch.cuh"

namespace torchprotect::cuda {

void block_permute(const PermuteTask& task, int device_index) {
  const DeviceGuard guard(device_index);
  const cudaStream_t stream = current_stream(device_index);
  choose_way(task, PermutePlan(task), [stream](auto way, const auto& params) {
    launch_cells<decltype(way)>("block_permute", params, stream);
  });
}

}  // namespace torchprotect::cuda
