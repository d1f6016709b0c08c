// Lets the bodies of the kernels compile with and without nvcc, so that tests can run them on a CPU.
#pragma once

#if defined(__CUDACC__)
#define TORCHPROTECT_HD __host__ __device__
#else
#define TORCHPROTECT_HD
#endif

#if defined(__CUDA_ARCH__)
#define TORCHPROTECT_UNROLL _Pragma("unroll")
#define TORCHPROTECT_UNROLL_BY_2 _Pragma("unroll 2")
#define TORCHPROTECT_UNROLL_BY_4 _Pragma("unroll 4")
#define TORCHPROTECT_KEEP_LOOP _Pragma("unroll 1")
#else
#define TORCHPROTECT_UNROLL
#define TORCHPROTECT_UNROLL_BY_2
#define TORCHPROTECT_UNROLL_BY_4
#define TORCHPROTECT_KEEP_LOOP
#endif
