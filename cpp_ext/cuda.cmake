# The CUDA kernels, in a library of their own: PyTorch builds without CUDA cannot load it.
set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 100-real 120)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared) # the one that PyTorch has loaded
enable_language(CUDA)

string(REGEX MATCH "^[0-9]+" cuda_major ${CMAKE_CUDA_COMPILER_VERSION})
set(target torchprotect_cuda${cuda_major}) # the loader compares the number with PyTorch's

add_library(${target} MODULE
  ${CSRC}/arguments.cpp
  ${CSRC}/operators.cpp
  ${CSRC}/cuda/library.cpp
  ${CSRC}/cuda/block_permute.cu
  ${CSRC}/cuda/aes_ecb.cu
  ${CSRC}/cuda/block_matmul.cu)
# a function for the host alone that slips into a kernel would leave it empty, with a mere warning
target_compile_options(${target} PRIVATE
  "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra;-Werror=cross-execution-space-call>")
set_source_files_properties(${CSRC}/cuda/block_matmul.cu PROPERTIES COMPILE_OPTIONS "-fmad=false")
# nvcc would link its own way, and lose the libraries that are asked for by name only
set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX CUDA_SEPARABLE_COMPILATION OFF)
find_package(CUDAToolkit REQUIRED)
target_include_directories(${target} PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
target_link_libraries(${target} PRIVATE CUDA::cudart)
link_torch(${target} torch_cpu torch_cuda)
install(TARGETS ${target} LIBRARY DESTINATION torchprotect/lib)
