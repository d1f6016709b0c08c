// Compiled by test_abi.py, never linked. Functions with C linkage cannot be overloaded: one that is declared here in
// another way than by PyTorch is an error. PyTorch's headers come first, and -DTORCH_ABI_HEADER may name another
// header.
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/c/shim.h>

#ifndef TORCH_ABI_HEADER
#define TORCH_ABI_HEADER "abi/torch_abi.h"
#endif
#include TORCH_ABI_HEADER
