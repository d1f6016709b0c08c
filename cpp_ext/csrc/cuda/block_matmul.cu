// Multiplying blocks by matrices.
#include "block_matmul_body.h"
#include "kernels.h"
#include "launch.cuh"

namespace torchprotect::cuda {

void block_matmul(const MatmulTask& task, int device_index) {
  const DeviceGuard guard(device_index);
  const cudaStream_t stream = current_stream(device_index);
  choose_way(
      task, [stream](auto way, const auto& params) { launch_cells<decltype(way)>("block_matmul", params, stream); });
}

}  // namespace torchprotect::cuda
