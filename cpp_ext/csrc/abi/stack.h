// The stack of a boxed call: read arguments, return a result, call operators of PyTorch.
#pragma once

#include <array>
#include <cstring>

#include "tensor.h"

namespace torchprotect {

using Pair = std::array<int64_t, 2>;

/// Arguments in the order of the schema. The stack owns its values; reading one transfers the ownership.
class Stack {
 public:
  explicit Stack(StableIValue* values) : first_(values), next_(values) {}

  Tensor tensor() { return Tensor(reinterpret_cast<AtenTensorHandle>(*next_++)); }
  bool flag() {
    bool value;
    std::memcpy(&value, next_++, sizeof value);
    return value;
  }
  Pair pair() {
    const auto list = reinterpret_cast<StableListHandle>(*next_++);
    size_t size;
    StableIValue elements[2] = {0, 0};
    succeed(torch_list_size(list, &size));
    for (size_t i = 0; i < 2 && i < size; ++i) succeed(torch_list_get_item(list, i, &elements[i]));
    succeed(torch_delete_list(list));
    if (size != 2) return {0, 0};  // `check_block` refuses it later, when every argument on the stack has an owner
    return {static_cast<int64_t>(elements[0]), static_cast<int64_t>(elements[1])};
  }
  Tensor optional_tensor() {
    const auto held = reinterpret_cast<StableIValue*>(*next_++);
    if (held == nullptr) return Tensor();
    const StableIValue value = *held;
    delete held;  // allocated by PyTorch with the same `new`
    return Tensor(reinterpret_cast<AtenTensorHandle>(value));
  }
  void give(Tensor result) { first_[0] = reinterpret_cast<StableIValue>(result.release()); }

 private:
  StableIValue *first_, *next_;
};

inline Tensor call(const char* name, const char* overload, StableIValue* stack) {
  succeed(torch_call_dispatcher(name, overload, stack, kAbiVersion));
  return Tensor(reinterpret_cast<AtenTensorHandle>(stack[0]));
}

/// `torch.empty_like(tensor)`: the memory format is kept.
inline Tensor empty_like(const Tensor& tensor) {
  if (tensor.numel > 0 && is_contiguous(tensor)) return new_tensor(tensor, tensor.strides);
  StableIValue stack[6] = {reinterpret_cast<StableIValue>(tensor.share())};  // and five omitted options
  return call("aten::empty_like", "", stack);
}

/// The Python reference of an operator with a table, for types that have no compiled kernel.
inline Tensor call_reference(
    const char* name, const Tensor& image, const Tensor& table, const Pair& block, bool flag, const Tensor& order) {
  StableListHandle list;
  succeed(torch_new_list_reserve_size(2, &list));
  for (int64_t length : block) succeed(torch_list_push_back(list, static_cast<StableIValue>(length)));
  StableIValue stack[5] = {
      reinterpret_cast<StableIValue>(image.share()), reinterpret_cast<StableIValue>(table.share()),
      reinterpret_cast<StableIValue>(list), static_cast<StableIValue>(flag), 0};
  if (order) stack[4] = reinterpret_cast<StableIValue>(new StableIValue(reinterpret_cast<StableIValue>(order.share())));
  return call(name, "reference", stack);
}

}  // namespace torchprotect
