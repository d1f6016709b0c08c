#include "operators.h"

#include <utility>

#include "abi/stack.h"
#include "abi/tensor.h"
#include "arguments.h"

namespace torchprotect {
namespace {

Kernels kernels;  // set once, when the library is registered

/// The result's tensor, and a contiguous stand-in, copied over at the end, if kernels cannot address its memory.
class Result {
 public:
  Result(const Tensor& image, Tensor out) : target_(std::move(out)) {
    if (!target_) {
      target_ = empty_like(image);
      fresh_ = true;
    }
    if (!is_image(target_)) staged_ = new_tensor(target_, contiguous_strides(target_).data());
  }
  Image image() const {
    Image image = as_image(staged_ ? staged_ : target_, true);
    image.fresh = fresh_;
    return image;
  }
  void finish() const {
    if (staged_) succeed(aoti_torch_copy_(target_.handle(), staged_.handle(), 0));
  }
  Tensor take() { return std::move(target_); }

 private:
  Tensor target_, staged_;
  bool fresh_ = false;
};

/// The image, and a contiguous copy of it if its leading dimensions do not fold into one.
class Source {
 public:
  explicit Source(const Tensor& image) {
    if (!is_image(image)) staged_ = contiguous(image);
    view_ = as_image(staged_ ? staged_ : image, false);
  }
  const Image& image() const { return view_; }

 private:
  Tensor staged_;
  Image view_;
};

/// Let `kernel(image, result)` fill `out`, or a new tensor if there is none.
template <class Kernel>
Tensor fill(const Tensor& image, Tensor out, Kernel kernel) {
  Result result(image, std::move(out));
  if (image.numel > 0) {
    const Source source(image);
    kernel(source.image(), result.image());
    result.finish();
  }
  return result.take();
}

/// An order, checked and contiguous, as kernels read it, or none.
class Order {
 public:
  Order(const Tensor& order, const Grid& grid, const Tensor& image) {
    if (!order) return;
    check_order(order, grid, image);
    held_ = contiguous(order);
    if (kernels.on_host) check_permutation(data(), grid.positions());
  }
  const int64_t* data() const { return held_ ? static_cast<const int64_t*>(held_.data()) : nullptr; }

 private:
  Tensor held_;
};

Tensor run_block_permute(const Tensor& image, const Tensor& order, const Pair& block, Tensor out) {
  require(image.dim >= 2, "image must have at least two dimensions [..., H, W]");
  const Grid grid = check_block(image, block);
  const Order checked(order, grid, image);
  if (out) check_out(out, image, {&image, &order});
  return fill(image, std::move(out), [&](const Image& from, const Image& to) {
    kernels.block_permute({from, to, grid, checked.data()}, image.device_index);
  });
}

Tensor run_aes_ecb(
    const Tensor& image, const Tensor& keys, const Pair& block, bool decrypt, const Tensor& order, Tensor out) {
  require(image.dim >= 3, "image must have at least three dimensions [..., C, H, W]");
  require(image.dtype == aoti_torch_dtype_uint8(), "image must be uint8");
  const Grid grid = check_block(image, block);
  require((grid.height % 16) * (grid.width % 16) % 16 == 0, "block must hold a multiple of 16 bytes");
  check_keys(keys, grid, image);
  const Order checked(order, grid, image);
  if (out) check_out(out, image, {&image, &keys, &order});
  const Tensor table = contiguous(keys);
  return fill(image, std::move(out), [&](const Image& from, const Image& to) {
    kernels.aes_ecb(
        {from, to, grid, checked.data(), {table.data(), keys.size(1), keys.size(2)}, decrypt}, image.device_index);
  });
}

Tensor run_block_matmul(
    const Tensor& image, const Tensor& matrices, const Pair& block, bool left, const Tensor& order, Tensor out) {
  require(image.dim >= 3, "image must have at least three dimensions [..., C, H, W]");
  const Grid grid = check_block(image, block);
  check_matrices(matrices, grid, image, left ? grid.height : grid.width);
  const Order checked(order, grid, image);
  if (out) check_out(out, image, {&image, &matrices, &order});
  if (image.dtype != aoti_torch_dtype_float32() && image.dtype != aoti_torch_dtype_float64()) {
    Tensor computed = call_reference("torchprotect::block_matmul", image, matrices, block, left, order);
    if (!out) return computed;
    succeed(aoti_torch_copy_(out.handle(), computed.handle(), 0));
    return out;
  }
  const Tensor table = contiguous(matrices);
  return fill(image, std::move(out), [&](const Image& from, const Image& to) {
    kernels.block_matmul(
        {from, to, grid, checked.data(), {table.data(), matrices.size(1), matrices.size(2)}, left}, image.device_index);
  });
}

// Boxed kernels: every argument is taken off the stack first, so that errors leak no references.

template <bool kInto>
void block_permute(StableIValue* values, uint64_t, uint64_t) {
  Stack stack(values);
  const Tensor image = stack.tensor(), order = stack.tensor();
  const Pair block = stack.pair();
  Tensor out = kInto ? stack.tensor() : Tensor();
  Tensor result = run_block_permute(image, order, block, std::move(out));
  if (!kInto) stack.give(std::move(result));
}

template <bool kInto, Tensor (*kRun)(const Tensor&, const Tensor&, const Pair&, bool, const Tensor&, Tensor)>
void with_table(StableIValue* values, uint64_t, uint64_t) {
  Stack stack(values);
  const Tensor image = stack.tensor(), table = stack.tensor();
  const Pair block = stack.pair();
  const bool flag = stack.flag();
  const Tensor order = stack.optional_tensor();
  Tensor out = kInto ? stack.tensor() : Tensor();
  Tensor result = kRun(image, table, block, flag, order, std::move(out));
  if (!kInto) stack.give(std::move(result));
}

}  // namespace

void register_kernels(const Kernels& given) {
  kernels = given;
  TorchLibraryHandle library;
  succeed(aoti_torch_library_init_impl("torchprotect", kernels.dispatch_key, __FILE__, __LINE__, &library));
  const auto add = [library](const char* name, void (*kernel)(StableIValue*, uint64_t, uint64_t)) {
    succeed(torch_library_impl(library, name, kernel, kAbiVersion));
  };
  add("block_permute", block_permute<false>);
  add("block_permute.out", block_permute<true>);
  add("aes_ecb", with_table<false, run_aes_ecb>);
  add("aes_ecb.out", with_table<true, run_aes_ecb>);
  add("block_matmul", with_table<false, run_block_matmul>);
  add("block_matmul.out", with_table<true, run_block_matmul>);
  // `library` is kept for the life of the process, because deleting it would unregister the kernels
}

}  // namespace torchprotect
