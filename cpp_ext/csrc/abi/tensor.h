// RAII owners of handles of PyTorch's C ABI.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "torch_abi.h"

namespace torchprotect {

/// Release of PyTorch whose ABI the kernels speak: 2.11, the oldest supported one, even if a newer one is loaded.
constexpr uint64_t kAbiVersion = (2ULL << 56) | (11ULL << 48);

/// Raise `RuntimeError` in Python.
[[noreturn]] inline void fail(const std::string& message) { throw std::runtime_error("torchprotect: " + message); }

inline void require(bool condition, const char* message) {
  if (!condition) fail(message);
}

inline void succeed(AOTITorchError error) { require(error == 0, "a call into PyTorch failed"); }

/// Owns one reference to a tensor. Sizes and strides are borrowed from it.
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(AtenTensorHandle owned) : handle_(owned) {
    succeed(aoti_torch_get_dim(handle_, &dim));
    succeed(aoti_torch_get_numel(handle_, &numel));
    succeed(aoti_torch_get_sizes(handle_, &sizes));
    succeed(aoti_torch_get_dtype(handle_, &dtype));
    succeed(aoti_torch_get_device_type(handle_, &device_type));
    succeed(aoti_torch_get_device_index(handle_, &device_index));
    int32_t layout;
    succeed(aoti_torch_get_layout(handle_, &layout));
    strided = layout == aoti_torch_layout_strided();
    if (strided) succeed(aoti_torch_get_strides(handle_, &strides));
  }
  Tensor(Tensor&& other) noexcept { *this = std::move(other); }
  Tensor& operator=(Tensor&& other) noexcept {
    AtenTensorHandle old = handle_;
    handle_ = other.handle_;
    dim = other.dim;
    numel = other.numel;
    sizes = other.sizes;
    strides = other.strides;
    dtype = other.dtype;
    device_type = other.device_type;
    device_index = other.device_index;
    strided = other.strided;
    other.handle_ = old;
    return *this;
  }
  ~Tensor() {
    if (handle_ != nullptr) aoti_torch_delete_tensor_object(handle_);
  }

  explicit operator bool() const { return handle_ != nullptr; }
  AtenTensorHandle handle() const { return handle_; }
  /// Release the reference, to the dispatcher's stack.
  AtenTensorHandle release() {
    AtenTensorHandle given = handle_;
    handle_ = nullptr;
    return given;
  }
  /// A second reference, for a callee that takes one.
  AtenTensorHandle share() const {
    AtenTensorHandle copy;
    succeed(aoti_torch_new_tensor_handle(handle_, &copy));
    return copy;
  }
  /// Size and stride of a dimension; negative ones count from the end, as in Python.
  int64_t size(int64_t dimension) const { return sizes[dimension < 0 ? dim + dimension : dimension]; }
  int64_t stride(int64_t dimension) const { return strides[dimension < 0 ? dim + dimension : dimension]; }
  int64_t item() const { return static_cast<int64_t>(aoti_torch_dtype_element_size(dtype)); }
  const void* data() const {
    const void* pointer;
    succeed(torch_get_const_data_ptr(handle_, &pointer));
    return pointer;
  }
  void* mutable_data() const {
    void* pointer;
    succeed(torch_get_mutable_data_ptr(handle_, &pointer));
    return pointer;
  }
  bool same_device(const Tensor& other) const {
    return device_type == other.device_type && device_index == other.device_index;
  }

  int64_t dim = 0, numel = 0;
  int64_t *sizes = nullptr, *strides = nullptr;
  int32_t dtype = 0, device_type = 0, device_index = 0;
  bool strided = true;

 private:
  AtenTensorHandle handle_ = nullptr;
};

/// A new tensor of the sizes, type and device of `like`, with these strides.
inline Tensor new_tensor(const Tensor& like, const int64_t* strides) {
  AtenTensorHandle handle;
  succeed(aoti_torch_empty_strided(
      like.dim, like.sizes, strides, like.dtype, like.device_type, like.device_index, &handle));
  return Tensor(handle);
}

inline std::vector<int64_t> contiguous_strides(const Tensor& tensor) {
  std::vector<int64_t> strides(tensor.dim);
  int64_t step = 1;
  for (int64_t i = tensor.dim - 1; i >= 0; --i) {
    strides[i] = step;
    step *= tensor.sizes[i] > 1 ? tensor.sizes[i] : 1;
  }
  return strides;
}

inline bool is_contiguous(const Tensor& tensor) {
  const std::vector<int64_t> expected = contiguous_strides(tensor);
  for (int64_t i = 0; i < tensor.dim; ++i) {
    if (tensor.sizes[i] > 1 && tensor.strides[i] != expected[i]) return false;
  }
  return true;
}

/// `tensor` itself if it is contiguous, otherwise a contiguous copy.
inline Tensor contiguous(const Tensor& tensor) {
  if (tensor.numel == 0 || is_contiguous(tensor)) return Tensor(tensor.share());
  Tensor copy = new_tensor(tensor, contiguous_strides(tensor).data());
  succeed(aoti_torch_copy_(copy.handle(), tensor.handle(), 0));
  return copy;
}

}  // namespace torchprotect
