// The bodies of the CUDA kernels, one index after another on a CPU: what tests/ops/test_cuda_bodies.py compiles.
//
// A host run checks what would trap on a GPU: every load and store is aligned (see cpp_ext/csrc/cuda/memory.h).
#include <cstdio>
#include <exception>
#include <vector>

#include "aes_ecb_body.h"
#include "block_matmul_body.h"
#include "block_permute_body.h"

namespace {

using namespace torchprotect;
using namespace torchprotect::cuda;

/// Run `work`; 0 when it threw nothing.
template <class Work>
int attempt(const Work& work) {
  try {
    work();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

const auto run_cells = [](auto way, const auto& params) {
  for (int64_t index = 0; index < params.cells.count; ++index) decltype(way)::run(params, index);
};

template <bool kDecrypt, int kImages>
void crypt_all(const AesParams& params, const std::vector<uint32_t>& table) {
  for (int64_t index = 0; index < params.cells.count; ++index) {
    const Lookup lookup(table.data(), static_cast<uint32_t>(index % kLanes));
    crypt_units<kDecrypt, kImages>(params, index, lookup);
  }
}

template <bool kDecrypt>
void crypt_task(const AesTask& task, int64_t enough, int64_t* facts) {
  static const SBoxes boxes = make_sboxes();
  std::vector<Quad> round_keys(KeyParams(task, nullptr).bytes() / sizeof(Quad));
  const KeyParams keys(task, round_keys.data());
  for (int64_t key = 0; key < keys.count; ++key) {
    (keys.size == 16 ? expand_key<4> : keys.size == 24 ? expand_key<6> : expand_key<8>)(keys, boxes, key);
  }
  std::vector<uint32_t> table(kTableWords);
  for (int i = 0; i < kTableWords; ++i) table[i] = table_word(boxes, i, kDecrypt);
  const AesParams params(task, round_keys.data(), enough);
  facts[0] = params.piece, facts[1] = params.images;
  (params.images == 1 ? crypt_all<kDecrypt, 1> : crypt_all<kDecrypt, kUnits>)(params, table);
}

}  // namespace

extern "C" {

/// `facts`: bytes of a load, bytes of a store, whether a thread makes rows. Counts below `small` take 32 bits. Only the
/// last `most` threads are run.
int run_block_permute(const PermuteTask* task, int64_t small, int64_t most, int64_t* facts) {
  return attempt([=] {
    const PermutePlan plan(*task, small);
    facts[0] = plan.piece, facts[1] = plan.chunk, facts[2] = plan.by_row;
    choose_way(*task, plan, [=](auto way, const auto& params) {
      const int64_t count = params.cells.count;
      for (int64_t index = count - std::min(count, most); index < count; ++index) decltype(way)::run(params, index);
    });
  });
}

/// `facts`: bytes of a load, images of a thread. With `enough` threads, they take several.
int run_aes_ecb(const AesTask* task, int64_t enough, int64_t* facts) {
  return attempt([=] { (task->decrypt ? crypt_task<true> : crypt_task<false>)(*task, enough, facts); });
}

/// `facts`: whether a thread makes columns. With `enough` threads, they take groups of images.
int run_block_matmul(const MatmulTask* task, int64_t enough, int64_t* facts) {
  return attempt([=] {
    facts[0] = ColumnParams::fits(*task);
    if (!facts[0]) return choose_way(*task, run_cells);
    choose_columns<kOrderedSumLimit>(ColumnParams(*task, enough), run_cells);
  });
}

/// Whether `dividend` is taken apart rightly.
bool divides(int64_t dividend, int64_t divisor) {
  const auto long_parts = Divisor<uint64_t>(divisor).split(dividend);
  const auto quotient = static_cast<uint64_t>(dividend / divisor);
  const auto remainder = static_cast<uint64_t>(dividend % divisor);
  if (long_parts.quotient != quotient || long_parts.remainder != remainder) return false;
  if (dividend >= int64_t{1} << 31 || divisor >= int64_t{1} << 31) return true;
  const auto parts = Divisor<uint32_t>(divisor).split(static_cast<uint32_t>(dividend));
  return parts.quotient == quotient && parts.remainder == remainder;
}

}  // extern "C"
