#if defined(__x86_64__)
#include <cstdint>
#include <cstring>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define WIDTH 8
#define BLOCK 3
#define TABLE soilcast_avx2
#define NAME "avx2"
#define IS_SUPPORTED __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
#include "table.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
