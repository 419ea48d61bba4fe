#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#define WIDTH 16
#define BLOCK 6
#define TABLE soilcast_avx512
#define NAME "avx512"
#define IS_SUPPORTED __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && \
    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
#include "table.h"
#endif
