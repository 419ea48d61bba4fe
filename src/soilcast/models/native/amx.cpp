// AVX-512, with products of bfloat16 numbers by AMX. Linux alone gives a process the tiles, on request.
#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <cstdint>
#include <cstring>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")
#endif
#define AVX512
#define AVX512_BF16
#define WIDTH 16
#define BLOCK 6
#define TABLE soilcast_amx
#define NAME "amx"
#define IS_SUPPORTED soilcast_avx512.is_supported() && __builtin_cpu_supports("avx512bf16") && has_tiles()

// The assembler's own words: the compilers' intrinsics do not tell that they read memory.
#define TILES
#define TILE_ZERO(tile) asm volatile("tilezero %%tmm" #tile ::)
#define TILE_LOAD(tile, from, stride) \
    asm volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(from), "r"(static_cast<int64_t>(stride)) : "memory")
#define TILE_STORE(tile, to, stride) \
    asm volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(to), "r"(static_cast<int64_t>(stride)) : "memory")
#define TILE_MULTIPLY(sums, left, right) asm volatile("tdpbf16ps %%tmm" #right ", %%tmm" #left ", %%tmm" #sums ::)
#define TILES_BEGIN asm volatile("ldtilecfg %0" ::"m"(WHOLE_TILES))
#define TILES_END asm volatile("tilerelease" ::)

namespace {

struct Configuration { // of eight tiles, each as large as can be
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(Configuration) == 64, "as the processor reads it");
const Configuration WHOLE_TILES;

bool has_tiles() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    const unsigned bfloat16 = 1u << 22, tile = 1u << 24;
    if (!(d & bfloat16) || !(d & tile)) return false;
    constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18; // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

} // namespace

#include "table.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
