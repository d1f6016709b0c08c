// Checks of a kernel's arguments: everything that memory safety needs, before memory is accessed.
#pragma once

#include <initializer_list>

#include "abi/stack.h"
#include "abi/tensor.h"
#include "image.h"

namespace torchprotect {

/// Check that `block` divides the image; throw otherwise.
Grid check_block(const Tensor& image, const Pair& block);

/// Check for int64 `[positions]` on the image's device.
void check_order(const Tensor& order, const Grid& grid, const Tensor& image);

/// Check that the order has every block once.
void check_permutation(const int64_t* order, int64_t positions);

/// Check for uint8 `[positions, channels or 1, 16 | 24 | 32]` on the image's device.
void check_keys(const Tensor& keys, const Grid& grid, const Tensor& image);

/// Check for `[positions, channels or 1, size, size]` of the image's type, on its device.
void check_matrices(const Tensor& matrices, const Grid& grid, const Tensor& image, int64_t size);

/// Check that `out` is like the image, and that no two of its elements share memory with each other or an input.
void check_out(const Tensor& out, const Tensor& image, std::initializer_list<const Tensor*> inputs);

/// Whether the tensor can be viewed as `[outer, channels, height, width]` without a copy.
bool is_image(const Tensor& tensor);

/// View a tensor for which `is_image` holds as an image.
Image as_image(const Tensor& tensor, bool for_writing);

}  // namespace torchprotect
