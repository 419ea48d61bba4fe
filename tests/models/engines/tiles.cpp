// The products by tiles without AMX: what its instructions do, by hand.
#include <cstdint>
#include <cstring>

namespace {

struct Tile {
    unsigned char rows[16][64];
};
thread_local Tile tile[8];

void load_tile(Tile &to, const void *from, int64_t stride) {
    for (int64_t row = 0; row < 16; row++) memcpy(to.rows[row], static_cast<const unsigned char *>(from) + row * stride, 64);
}
void store_tile(const Tile &from, void *to, int64_t stride) {
    for (int64_t row = 0; row < 16; row++) memcpy(static_cast<unsigned char *>(to) + row * stride, from.rows[row], 64);
}
// The bfloat16 numbers of a tile as floats, row after row.
void decode(const Tile &from, float *numbers) {
    for (int64_t at = 0; at < 16 * 32; at++) {
        uint32_t bits = 0;
        memcpy(reinterpret_cast<unsigned char *>(&bits) + 2, &from.rows[0][0] + 2 * at, 2);
        memcpy(numbers + at, &bits, 4);
    }
}
void multiply_tiles(Tile &sums, const Tile &left, const Tile &right) {
    float a[16 * 32], b[16 * 32], c[16 * 16];
    decode(left, a);
    decode(right, b);
    memcpy(c, sums.rows, sizeof c);
    for (int64_t row = 0; row < 16; row++)
        for (int64_t k = 0; k < 32; k++)
            for (int64_t column = 0; column < 16; column++) c[row * 16 + column] += a[row * 32 + k] * b[k / 2 * 32 + 2 * column + k % 2];
    memcpy(sums.rows, c, sizeof c);
}

} // namespace

#define WIDTH 16
#define BLOCK 6
#define TABLE soilcast_amx
#define NAME "tiles without AMX"
#define IS_SUPPORTED true
#define TILES
#define TILE_ZERO(number) tile[number] = Tile()
#define TILE_LOAD(number, from, stride) load_tile(tile[number], from, stride)
#define TILE_STORE(number, to, stride) store_tile(tile[number], to, stride)
#define TILE_MULTIPLY(sums, left, right) multiply_tiles(tile[sums], tile[left], tile[right])
#define TILES_BEGIN (void)0
#define TILES_END (void)0
#include "../../../src/soilcast/models/native/table.h"
