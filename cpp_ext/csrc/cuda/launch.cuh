// Launch kernels on the image's device and PyTorch's current stream, without waiting for them.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "../abi/tensor.h"

namespace torchprotect::cuda {

/// Makes a device the current one, and restores the previous one at the end.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device_index) { succeed(aoti_torch_create_device_guard(device_index, &guard_)); }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;
  ~DeviceGuard() { aoti_torch_delete_device_guard(guard_); }

 private:
  DeviceGuardHandle guard_;
};

inline cudaStream_t current_stream(int device_index) {
  void* stream;
  succeed(aoti_torch_get_current_cuda_stream(device_index, &stream));
  return static_cast<cudaStream_t>(stream);
}

/// Memory on the device from PyTorch's allocator: once freed, used again only by later work on the same stream.
inline Tensor scratch(int64_t bytes, int device_index) {
  const int64_t stride = 1;
  AtenTensorHandle handle;
  succeed(aoti_torch_empty_strided(
      1, &bytes, &stride, aoti_torch_dtype_uint8(), aoti_torch_device_type_cuda(), device_index, &handle));
  return Tensor(handle);
}

inline void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) fail(std::string(what) + ": " + cudaGetErrorString(error));
}

/// Thread blocks for `count` steps of work, `each` of them per block. Kernels loop, so fewer blocks are enough.
inline unsigned blocks_for(int64_t count, int64_t each, int64_t most = int64_t{1} << 24) {
  return static_cast<unsigned>(std::min(count / each + (count % each != 0), most));
}

/// Start `kernel`, unless there is nothing to do.
template <class Params>
void launch(
    const char* name, void (*kernel)(Params), unsigned blocks, unsigned threads, const Params& params,
    cudaStream_t stream, size_t shared_bytes = 0) {
  if (blocks == 0) return;
  kernel<<<blocks, threads, shared_bytes, stream>>>(params);
  check(cudaGetLastError(), name);
}

/// Index of this thread in the grid, and number of threads.
__device__ inline int64_t thread_number() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline int64_t thread_count() { return int64_t{gridDim.x} * blockDim.x; }

constexpr int kCellThreads = 256;

/// A kernel that takes one step of `Way` for each of `params.cells`.
template <class Way, class Params>
__global__ void __launch_bounds__(kCellThreads) run_cells(Params params) {
  for (int64_t index = thread_number(); index < params.cells.count; index += thread_count()) Way::run(params, index);
}

template <class Way, class Params>
void launch_cells(const char* name, const Params& params, cudaStream_t stream) {
  launch(name, run_cells<Way, Params>, blocks_for(params.cells.count, kCellThreads), kCellThreads, params, stream);
}

}  // namespace torchprotect::cuda
