#include "arguments.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace torchprotect {
namespace {

std::string describe(const int64_t* sizes, int64_t dim) {
  std::string text = "[";
  for (int64_t i = 0; i < dim; ++i) text += (i ? ", " : "") + std::to_string(sizes[i]);
  return text + "]";
}

void require_sizes(const char* name, const Tensor& tensor, const std::vector<int64_t>& sizes) {
  const auto dim = static_cast<int64_t>(sizes.size());
  if (tensor.dim == dim && std::equal(sizes.begin(), sizes.end(), tensor.sizes)) return;
  fail(
      std::string(name) + " must be of shape " + describe(sizes.data(), dim) + ", not " +
      describe(tensor.sizes, tensor.dim));
}

void require_device(const char* name, const Tensor& tensor, const Tensor& image) {
  if (!tensor.same_device(image)) fail(std::string(name) + " must be on the image's device");
  if (!tensor.strided) fail(std::string(name) + " must be a strided tensor");
}

/// Begin and end of the memory that the elements of a tensor with at least one element occupy.
std::pair<const char*, const char*> extent(const Tensor& tensor) {
  int64_t reach = 1;
  for (int64_t i = 0; i < tensor.dim; ++i) reach += (tensor.sizes[i] - 1) * tensor.strides[i];
  const char* first = static_cast<const char*>(tensor.data());
  return {first, first + reach * tensor.item()};
}

bool share_memory(const Tensor& a, const Tensor& b) {
  if (a.numel == 0 || b.numel == 0) return false;
  const auto [a_first, a_end] = extent(a);
  const auto [b_first, b_end] = extent(b);
  return a_first < b_end && b_first < a_end;
}

bool overlaps_itself(const Tensor& tensor) {
  std::vector<std::pair<int64_t, int64_t>> steps;  // stride, size
  for (int64_t i = 0; i < tensor.dim; ++i) {
    if (tensor.sizes[i] > 1) steps.emplace_back(tensor.strides[i], tensor.sizes[i]);
  }
  std::sort(steps.begin(), steps.end());
  int64_t reach = 1;
  for (const auto& [stride, size] : steps) {
    if (stride < reach) return true;
    reach += stride * (size - 1);
  }
  return false;
}

/// Fold dimensions [0, count) into one; false if the strides do not allow it.
bool fold(const Tensor& tensor, int64_t count, int64_t* size, int64_t* stride) {
  *size = 1;
  *stride = 0;
  for (int64_t i = count - 1; i >= 0; --i) {
    if (tensor.sizes[i] == 1) continue;
    if (*size != 1 && tensor.strides[i] != *stride * *size) return false;
    if (*size == 1) *stride = tensor.strides[i];
    *size *= tensor.sizes[i];
  }
  return true;
}

}  // namespace

Grid check_block(const Tensor& image, const Pair& block) {
  require(image.strided, "image must be a strided tensor");
  const int64_t height = image.size(-2), width = image.size(-1);
  if (block[0] < 1 || block[1] < 1 || height % block[0] != 0 || width % block[1] != 0) {
    fail(
        "block " + std::to_string(block[0]) + " x " + std::to_string(block[1]) + " does not divide an image of " +
        std::to_string(height) + " x " + std::to_string(width));
  }
  return {block[0], block[1], height / block[0], width / block[1]};
}

void check_order(const Tensor& order, const Grid& grid, const Tensor& image) {
  require(order.dtype == aoti_torch_dtype_int64(), "order must be int64");
  require_device("order", order, image);
  require_sizes("order", order, {grid.positions()});
}

void check_permutation(const int64_t* order, int64_t positions) {
  std::vector<char> seen(positions, 0);
  for (int64_t i = 0; i < positions; ++i) {
    const bool fits = order[i] >= 0 && order[i] < positions && !seen[order[i]];
    require(fits, "order must be a permutation: each of 0 .. positions - 1 once");
    seen[order[i]] = 1;
  }
}

void check_keys(const Tensor& keys, const Grid& grid, const Tensor& image) {
  require(keys.dtype == aoti_torch_dtype_uint8(), "keys must be uint8");
  require_device("keys", keys, image);
  require(keys.dim == 3, "keys must have three dimensions [positions, C or 1, 16 | 24 | 32]");
  const int64_t length = keys.size(2);
  require(length == 16 || length == 24 || length == 32, "keys must be of 16, 24 or 32 bytes");
  require_sizes("keys", keys, {grid.positions(), keys.size(1) == 1 ? 1 : image.size(-3), length});
}

void check_matrices(const Tensor& matrices, const Grid& grid, const Tensor& image, int64_t size) {
  require(matrices.dtype == image.dtype, "matrices must be of the image's type");
  require_device("matrices", matrices, image);
  require(matrices.dim == 4, "matrices must have four dimensions [positions, C or 1, m, m]");
  require_sizes("matrices", matrices, {grid.positions(), matrices.size(1) == 1 ? 1 : image.size(-3), size, size});
}

void check_out(const Tensor& out, const Tensor& image, std::initializer_list<const Tensor*> inputs) {
  require(out.dtype == image.dtype, "out must be of the image's type");
  require_device("out", out, image);
  require_sizes("out", out, std::vector<int64_t>(image.sizes, image.sizes + image.dim));
  require(!overlaps_itself(out), "out must not overlap itself");
  for (const Tensor* input : inputs) {
    require(!*input || !share_memory(out, *input), "out must share no memory with the other arguments");
  }
}

bool is_image(const Tensor& tensor) {
  int64_t size, stride;
  return fold(tensor, tensor.dim - 3, &size, &stride);
}

Image as_image(const Tensor& tensor, bool for_writing) {
  Image image;
  image.data = for_writing ? tensor.mutable_data() : const_cast<void*>(tensor.data());
  image.item = tensor.item();
  image.fresh = false;
  fold(tensor, tensor.dim - 3, &image.outer, &image.outer_stride);
  const bool has_channels = tensor.dim > 2;
  image.channels = has_channels ? tensor.size(-3) : 1;
  image.channel_stride = has_channels ? tensor.stride(-3) : 0;
  image.height = tensor.size(-2);
  image.row_stride = tensor.stride(-2);
  image.width = tensor.size(-1);
  image.column_stride = tensor.stride(-1);
  return image;
}

}  // namespace torchprotect
