// The functions of PyTorch's stable C ABI that the kernels use, declared here so that building needs no PyTorch.
//
// Declarations follow torch/csrc/inductor/aoti_torch/c/shim.h and torch/csrc/stable/c/shim.h of PyTorch 2.11, the
// oldest release supported. tests/ops/test_abi.py compiles this header together with PyTorch's own: a declaration
// that differs is a compile error there.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

struct AtenTensorOpaque;
using AtenTensorHandle = AtenTensorOpaque*;
struct StableListOpaque;
using StableListHandle = StableListOpaque*;
class TorchLibraryOpaque;
using TorchLibraryHandle = TorchLibraryOpaque*;
struct DeviceGuardOpaque;
using DeviceGuardHandle = DeviceGuardOpaque*;
using StableIValue = uint64_t;
using AOTITorchError = int32_t;

// Constants: their values are not part of the ABI
int32_t aoti_torch_device_type_cuda();
int32_t aoti_torch_dtype_uint8();
int32_t aoti_torch_dtype_int64();
int32_t aoti_torch_dtype_float32();
int32_t aoti_torch_dtype_float64();
int32_t aoti_torch_layout_strided();
size_t aoti_torch_dtype_element_size(int32_t dtype);

// Tensors
AOTITorchError aoti_torch_new_tensor_handle(AtenTensorHandle original, AtenTensorHandle* result);
AOTITorchError aoti_torch_delete_tensor_object(AtenTensorHandle tensor);
AOTITorchError aoti_torch_get_dim(AtenTensorHandle tensor, int64_t* result);
AOTITorchError aoti_torch_get_numel(AtenTensorHandle tensor, int64_t* result);
AOTITorchError aoti_torch_get_sizes(AtenTensorHandle tensor, int64_t** result);
AOTITorchError aoti_torch_get_strides(AtenTensorHandle tensor, int64_t** result);
AOTITorchError aoti_torch_get_dtype(AtenTensorHandle tensor, int32_t* result);
AOTITorchError aoti_torch_get_layout(AtenTensorHandle tensor, int32_t* result);
AOTITorchError aoti_torch_get_device_type(AtenTensorHandle tensor, int32_t* result);
AOTITorchError aoti_torch_get_device_index(AtenTensorHandle tensor, int32_t* result);
AOTITorchError torch_get_const_data_ptr(AtenTensorHandle tensor, const void** result);
AOTITorchError torch_get_mutable_data_ptr(AtenTensorHandle tensor, void** result);
AOTITorchError aoti_torch_empty_strided(
    int64_t dim, const int64_t* sizes, const int64_t* strides, int32_t dtype, int32_t device_type, int32_t device_index,
    AtenTensorHandle* result);
AOTITorchError aoti_torch_copy_(AtenTensorHandle self, AtenTensorHandle source, int32_t non_blocking);

// Lists
AOTITorchError torch_new_list_reserve_size(size_t size, StableListHandle* result);
AOTITorchError torch_list_push_back(StableListHandle list, StableIValue element);
AOTITorchError torch_list_size(StableListHandle list, size_t* result);
AOTITorchError torch_list_get_item(StableListHandle list, size_t index, StableIValue* element);
AOTITorchError torch_delete_list(StableListHandle list);

// Operators
AOTITorchError aoti_torch_library_init_impl(
    const char* ns, const char* key, const char* file, uint32_t line, TorchLibraryHandle* result);
AOTITorchError torch_library_impl(
    TorchLibraryHandle library, const char* name, void (*kernel)(StableIValue*, uint64_t, uint64_t),
    uint64_t build_version);
AOTITorchError torch_call_dispatcher(
    const char* name, const char* overload, StableIValue* stack, uint64_t build_version);

// Threads
typedef void (*ParallelFunc)(int64_t begin, int64_t end, void* context);
AOTITorchError torch_parallel_for(int64_t begin, int64_t end, int64_t grain, ParallelFunc function, void* context);
AOTITorchError torch_get_num_threads(uint32_t* result);

// CUDA
AOTITorchError aoti_torch_create_device_guard(int32_t device_index, DeviceGuardHandle* result);
AOTITorchError aoti_torch_delete_device_guard(DeviceGuardHandle guard);
AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device_index, void** result);

}  // extern "C"
