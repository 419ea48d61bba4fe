#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#define WIDTH 8
#define BLOCK 3
#define TABLE soilcast_avx2
#define NAME "avx2"
#define IS_SUPPORTED __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
#include "table.h"
#endif
