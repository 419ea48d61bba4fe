#if defined(__x86_64__)
#include <cstdint>
#include <cstring>
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif
#define AVX512
#define WIDTH 16
#define BLOCK 6
#define TABLE soilcast_avx512
#define NAME "avx512"
#define IS_SUPPORTED __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && \
    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
#include "table.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
