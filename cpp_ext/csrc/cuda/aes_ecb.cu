// AES-ECB: one kernel expands keys, another encrypts or decrypts units.
#include "aes_ecb_body.h"
#include "kernels.h"
#include "launch.cuh"

namespace torchprotect::cuda {
namespace {

constexpr int kKeyThreads = 64;
constexpr int kThreads = 512;
constexpr int kTableBytes = kTableWords * 4;

__device__ const SBoxes sboxes = make_sboxes();

template <int kWords>
__global__ void __launch_bounds__(kKeyThreads) expand(KeyParams params) {
  for (int64_t key = thread_number(); key < params.count; key += thread_count()) {
    expand_key<kWords>(params, sboxes, key);
  }
}

template <bool kDecrypt, int kImages>
__global__ void __launch_bounds__(kThreads, 2) crypt_all(AesParams params) {
  extern __shared__ uint32_t table[];
  for (int i = threadIdx.x; i < kTableWords; i += kThreads) table[i] = table_word(sboxes, i, kDecrypt);
  __syncthreads();
  const Lookup lookup(table, threadIdx.x % kLanes);
  for (int64_t index = thread_number(); index < params.cells.count; index += thread_count()) {
    crypt_units<kDecrypt, kImages>(params, index, lookup);
  }
}

/// As many thread blocks as the device runs at once, because each fills a table first.
template <bool kDecrypt, int kImages>
void start(const AesParams& params, int device_index, cudaStream_t stream) {
  const auto kernel = crypt_all<kDecrypt, kImages>;
  int processors, resident;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kTableBytes), "aes_ecb");
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device_index), "aes_ecb");
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, kThreads, kTableBytes), "aes_ecb");
  const unsigned blocks = blocks_for(params.cells.count, kThreads, int64_t{processors} * std::max(resident, 1));
  launch("aes_ecb", kernel, blocks, kThreads, params, stream, kTableBytes);
}

template <bool kDecrypt>
void start_with(const AesParams& params, int device_index, cudaStream_t stream) {
  (params.images == 1 ? start<kDecrypt, 1> : start<kDecrypt, kUnits>)(params, device_index, stream);
}

}  // namespace

void aes_ecb(const AesTask& task, int device_index) {
  const DeviceGuard guard(device_index);
  const cudaStream_t stream = current_stream(device_index);
  const Tensor round_keys = scratch(KeyParams(task, nullptr).bytes(), device_index);
  const KeyParams keys(task, round_keys.mutable_data());
  const auto kernel = task.keys.size == 16 ? expand<4> : task.keys.size == 24 ? expand<6> : expand<8>;
  launch("aes_ecb", kernel, blocks_for(keys.count, kKeyThreads), kKeyThreads, keys, stream);
  const AesParams params(task, round_keys.data());
  (task.decrypt ? start_with<true> : start_with<false>)(params, device_index, stream);
}

}  // namespace torchprotect::cuda
