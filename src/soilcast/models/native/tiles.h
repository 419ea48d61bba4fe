// Products of bfloat16 numbers by tiles of 16 rows of 64 bytes (AMX), with float32 sums. The instruction set's file defines
// TILE_ZERO, TILE_LOAD, TILE_STORE, TILE_MULTIPLY, TILES_BEGIN and TILES_END.
//
// The operands of every product lie in whole tiles. On the left a tile has 16 rows of 32 columns; on the right it has the same
// 32 numbers of 16 columns in pairs: pair p of column n is numbers 2p and 2p + 1. Samples are filled up to whole tiles.
//
// What the inputs add to the sums is computed as closely as in float32: x and W are each the sum of two bfloat16 numbers.

namespace {

typedef uint16_t Half; // bfloat16: the upper half of a float32
typedef Half Halves __attribute__((vector_size(2 * WIDTH)));
typedef Half UnalignedHalves __attribute__((vector_size(2 * WIDTH), aligned(2), may_alias));
typedef uint32_t UnalignedBits __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

constexpr int64_t EDGE = 16, DEPTH = 32, WHOLE = EDGE * DEPTH; // rows, numbers of a row on the left, numbers of a tile
constexpr int64_t GROUP = DEPTH * TILE;                        // sums of a block of rows and a group of hidden units
static_assert(WIDTH == EDGE, "a vector is as wide as a tile");

INLINE int64_t rounded_up(int64_t count, int64_t by) { return (count + by - 1) / by * by; }

// How many tiles there are of what.
struct Tiling {
    int64_t features;              // numbers that those of the inputs are filled up to
    int64_t inputs, units, sums;   // along products over the inputs, hidden units, and sums of the gates
    int64_t blocks;                // of two tiles of rows; along products over the samples of a day
    int64_t columns, panel;        // numbers of the weights of one gate, and of all, of a group of hidden units
};

INLINE Tiling tiling_of(const Shape &shape) {
    const int64_t features = rounded_up(shape.features, WIDTH), inputs = rounded_up(3 * features + 2, DEPTH) / DEPTH;
    const int64_t units = rounded_up(shape.hidden, DEPTH) / DEPTH, columns = (inputs + units) * WHOLE;
    return {features, inputs, units, 2 * tiles_of(shape.hidden), rounded_up(shape.samples, DEPTH) / DEPTH, columns, 4 * columns};
}

// Takes whole tiles from a piece of memory, or counts them where there is none yet.
struct Tiles {
    Half *memory;
    int64_t used;
    Half *take(int64_t tiles) {
        Half *const at = memory ? memory + used : nullptr;
        used += tiles * WHOLE;
        return at;
    }
    int64_t floats() const { return used / 2; }
};

struct Operands { // of a part of a batch
    Half *x, *hidden;                // (day, row tile, tile along), left
    Half *gates, *paired;            // gradients by the sums: of a day, left; of all days (column tile, day, block), right
    Half *x_turned, *hidden_turned;  // (row tile, day, block), left
    float *sums;                     // of 32 rows and two groups of hidden units
    int64_t floats;

    Operands(const Shape &shape, float *memory) {
        const Tiling tiling = tiling_of(shape);
        const int64_t days = shape.days * tiling.blocks;
        Tiles from = {reinterpret_cast<Half *>(memory), 0};
        x = from.take(2 * days * tiling.inputs);
        hidden = from.take(2 * days * tiling.units);
        gates = from.take(2 * tiling.blocks * tiling.sums);
        paired = from.take(2 * tiling.sums * days);
        x_turned = from.take(2 * tiling.features / EDGE * days);
        hidden_turned = from.take(2 * tiling.units * days);
        sums = reinterpret_cast<float *>(from.take(2 * GROUP / (WHOLE / 2)));
        floats = from.floats();
    }
};

// Nearest bfloat16 numbers: of a vector; and of two, in pairs.
#ifdef AVX512_BF16
INLINE Halves halves_of(Floats values) { return reinterpret_cast<Halves>(_mm512_cvtneps_pbh(values)); }
INLINE Bits paired(Floats even, Floats odd) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4,
                                           19, 3, 18, 2, 17, 1, 16, 0);
    const __m512i both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd, even));
    return reinterpret_cast<Bits>(_mm512_permutexvar_epi16(order, both));
}
#else
INLINE Bits rounded_bits(Floats values) { return reinterpret_cast<Bits>(rounded_to_bfloat16(values)); }
INLINE Halves halves_of(Floats values) { return __builtin_convertvector(rounded_bits(values) >> 16, Halves); }
INLINE Bits paired(Floats even, Floats odd) { return rounded_bits(even) >> 16 | (rounded_bits(odd) & 0xffff0000u); }
#endif

INLINE void store_halves(Half *to, Floats values) { *reinterpret_cast<UnalignedHalves *>(to) = halves_of(values); }
INLINE Bits load_pairs(const Half *from) { return *reinterpret_cast<const UnalignedBits *>(from); }
INLINE void store_pairs(Half *to, Bits pairs) { *reinterpret_cast<UnalignedBits *>(to) = pairs; }

INLINE Bits picked(Bits first, Bits second, Bits index) {
#if defined(__clang__)
    Bits found;
    for (int lane = 0; lane < WIDTH; lane++)
        found[lane] = index[lane] < WIDTH ? first[index[lane]] : second[index[lane] - WIDTH];
    return found;
#else
    return __builtin_shuffle(first, second, index);
#endif
}

// Rows become columns, in exchanges of lanes that are 1, 2, 4 and 8 apart.
INLINE void transpose(Bits (&rows)[WIDTH]) {
#pragma GCC unroll 4
    for (int apart = 1; apart < WIDTH; apart *= 2) {
        Bits low, high;
        for (int lane = 0; lane < WIDTH; lane++) {
            low[lane] = lane & apart ? WIDTH + lane - apart : lane;
            high[lane] = lane & apart ? WIDTH + lane : lane + apart;
        }
#pragma GCC unroll 16
        for (int row = 0; row < WIDTH; row++) {
            if (row & apart) continue;
            const Bits first = rows[row], second = rows[row + apart];
            rows[row] = picked(first, second, low);
            rows[row + apart] = picked(first, second, high);
        }
    }
}

INLINE void tiles_zero() {
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
}

// Adds the products of one or two tiles of rows with two tiles of columns, along `count` tiles.
struct Left {
    const Half *tiles;
    int64_t next_row, along; // numbers from a tile to that of the next rows, and to the next along the product
};
struct Right {
    const Half *tiles;
    int64_t next_column, along;
};

template <int ROWS> INLINE void tiles_add(Left a, Right b, int64_t count) {
    const Half *left = a.tiles, *right = b.tiles;
    for (int64_t at = 0; at < count; at++, left += a.along, right += b.along) {
        TILE_LOAD(4, left, 64);
        TILE_LOAD(6, right, 64);
        TILE_MULTIPLY(0, 4, 6);
        TILE_LOAD(7, right + b.next_column, 64);
        TILE_MULTIPLY(1, 4, 7);
        if (ROWS == 2) {
            TILE_LOAD(5, left + a.next_row, 64);
            TILE_MULTIPLY(2, 5, 6);
            TILE_MULTIPLY(3, 5, 7);
        }
    }
}

// stride: floats from one row to the next; the second tile of columns lies `next_column` behind the first.
template <int ROWS> INLINE void tiles_store(float *to, int64_t stride) {
    TILE_STORE(0, to, 4 * stride);
    TILE_STORE(1, to + EDGE, 4 * stride);
    if (ROWS == 2) {
        TILE_STORE(2, to + EDGE * stride, 4 * stride);
        TILE_STORE(3, to + EDGE * stride + EDGE, 4 * stride);
    }
}

// Calls work(constant number of row tiles) as so many are wanted for some rows.
template <typename Work> INLINE void for_rows(int64_t rows, const Work &work) {
    if (rows > EDGE)
        work(Constant<2>());
    else
        work(Constant<1>());
}

// The weights of some groups of hidden units on the right: (gate, tile along inputs and units); and U turned round, on the right
// too: (tile of units, tile along the sums).
void prepare_tiles(const Shape &shape, const float *panels, float *rounded, float *turned, int64_t first, int64_t last) {
    const Tiling tiling = tiling_of(shape);
    for (int64_t tile = first; tile < last; tile++) {
        const float *from = panels + tile * panel_of(shape), *recurrent = from + (2 + shape.features) * TILE;
        // What number k of a row of inputs meets, in the order of `inputs_to_tiles`.
        const auto of_input = [&](int64_t k, int64_t gate) __attribute__((always_inline)) {
            const int64_t feature = k % tiling.features, copy = k / tiling.features;
            const float *at = from + gate * WIDTH;
            if (copy == 3 ? feature > 1 : copy > 3 || feature >= shape.features) return Floats{};
            const Floats exact = copy == 3 ? load(at) + load(at + TILE) : load(at + (2 + feature) * TILE);
            return (copy == 3 ? feature == 0 : copy < 2) ? exact : exact - rounded_to_bfloat16(exact);
        };
        const auto of_unit = [&](int64_t unit, int64_t gate) __attribute__((always_inline)) {
            return unit < shape.hidden ? load(recurrent + unit * TILE + gate * WIDTH) : Floats{};
        };
        Half *line = reinterpret_cast<Half *>(rounded) + tile * tiling.panel;
        for (int64_t gate = 0; gate < 4; gate++) {
            for (int64_t k = 0; k < tiling.inputs * DEPTH; k += 2, line += DEPTH)
                store_pairs(line, paired(of_input(k, gate), of_input(k + 1, gate)));
            for (int64_t unit = 0; unit < tiling.units * DEPTH; unit += 2, line += DEPTH)
                store_pairs(line, paired(of_unit(unit, gate), of_unit(unit + 1, gate)));
        }
        if (!turned) continue;
        for (int64_t group = 0; group < 2 * tiling.units; group++)
            for (int64_t half = 0; half < 2; half++) {
                Bits rows[WIDTH];
                for (int row = 0; row < WIDTH; row++) {
                    const int64_t unit = group * EDGE + row, gate = 2 * half;
                    Half both[DEPTH];
                    store_halves(both, of_unit(unit, gate));
                    store_halves(both + WIDTH, of_unit(unit, gate + 1));
                    rows[row] = load_pairs(both);
                }
                transpose(rows);
                Half *to = reinterpret_cast<Half *>(turned) + (group * tiling.sums + 2 * tile + half) * WHOLE;
                for (int pair = 0; pair < WIDTH; pair++) store_pairs(to + pair * DEPTH, rows[pair]);
            }
    }
}

// The first of a row's numbers in an operand on the left that is so many tiles long.
INLINE Half *row_in(Half *tiles, int64_t along, int64_t row) { return tiles + row / EDGE * along * WHOLE + row % EDGE * DEPTH; }
// Of numbers that begin with a whole vector.
INLINE Half *number_in(Half *row, int64_t k) { return row + k / DEPTH * WHOLE + k % DEPTH; }

// x of some rows on the left: the upper parts, the lower parts, the upper parts again, and 1 for each part of the bias.
void inputs_to_tiles(const Shape &shape, int64_t rows, const float *x, int64_t x_stride, Half *tiles) {
    const Tiling tiling = tiling_of(shape);
    for (int64_t row = 0; row < rows; row++) {
        Half *to = row_in(tiles, tiling.inputs, row);
        for (int64_t start = 0; start < shape.features; start += WIDTH) {
            const int64_t left = shape.features - start;
            Floats exact = {};
            memcpy(&exact, x + row * x_stride + start, sizeof(float) * (left < WIDTH ? left : WIDTH));
            store_halves(number_in(to, start), exact);
            store_halves(number_in(to, tiling.features + start), exact - rounded_to_bfloat16(exact));
            store_halves(number_in(to, 2 * tiling.features + start), exact);
        }
        Half *ones = number_in(to, 3 * tiling.features);
        ones[0] = ones[1] = 0x3f80;
    }
}

// The sums of a block of rows and one group of hidden units, (row, gate, unit): of the inputs, of h of the day before, or both.
template <int ROWS>
INLINE void sum_gates(const Tiling &tiling, const Half *weights, const Half *x, const Half *before, float *sums, int64_t stride) {
    for (int64_t gates = 0; gates < 4; gates += 2) {
        const Half *columns = weights + gates * tiling.columns;
        tiles_zero();
        if (x) tiles_add<ROWS>({x, tiling.inputs * WHOLE, WHOLE}, {columns, tiling.columns, WHOLE}, tiling.inputs);
        columns += tiling.inputs * WHOLE;
        if (before) tiles_add<ROWS>({before, tiling.units * WHOLE, WHOLE}, {columns, tiling.columns, WHOLE}, tiling.units);
        tiles_store<ROWS>(sums + gates * WIDTH, stride);
    }
}

// See `project`: `sums_of` has room for whole tiles of rows, `x_tiles` for a block of x on the left.
void project_tiles(const Shape &shape, int64_t rows, const float *x, int64_t x_stride, const float *weights, Half *x_tiles,
                   float *sums_of) {
    const Tiling tiling = tiling_of(shape);
    const Sizes size = sizes(shape);
    for (int64_t first = 0; first < rows; first += DEPTH) {
        const int64_t count = rows - first < DEPTH ? rows - first : DEPTH;
        inputs_to_tiles(shape, count, x + first * x_stride, x_stride, x_tiles);
        for (int64_t tile = 0; tile < size.tiles; tile++)
            for_rows(count, [&](auto row_tiles) __attribute__((always_inline)) {
                sum_gates<decltype(row_tiles)::value>(tiling, reinterpret_cast<const Half *>(weights) + tile * tiling.panel,
                                                      x_tiles, nullptr, sums_of + first * size.gates + tile * TILE, size.gates);
            });
    }
}

// A day of some samples: see `Day`, whose `hidden` it writes unless that is null. Its h goes to `after`, on the left.
void forward_day_tiles(const Shape &shape, const float *weights, const Day &day, const Half *x, const Half *before, Half *after,
                       float *sums) {
    const Tiling tiling = tiling_of(shape);
    const Sizes size = sizes(shape);
    for (int64_t first = 0; first < shape.samples; first += DEPTH) {
        const int64_t count = shape.samples - first < DEPTH ? shape.samples - first : DEPTH;
        const int64_t row_tile = first / EDGE * WHOLE;
        // One group ahead: its products are under way while the arithmetic of the gates of the group before goes on.
        for (int64_t ahead = 0; ahead <= size.tiles; ahead++) {
            if (ahead < size.tiles)
                for_rows(count, [&](auto row_tiles) __attribute__((always_inline)) {
                    sum_gates<decltype(row_tiles)::value>(
                        tiling, reinterpret_cast<const Half *>(weights) + ahead * tiling.panel,
                        x ? x + row_tile * tiling.inputs : nullptr, before ? before + row_tile * tiling.units : nullptr,
                        sums + ahead % 2 * GROUP, TILE);
                });
            const int64_t tile = ahead - 1;
            if (tile < 0) continue;
            const float *of_rows = sums + tile % 2 * GROUP;
            for (int64_t row = first; row < first + count; row++, of_rows += TILE) {
                Floats gate[4];
                for (int n = 0; n < 4; n++) gate[n] = load(of_rows + n * WIDTH);
                if (day.x_rows)
                    for (int n = 0; n < 4; n++) gate[n] += load(day.x + day.x_rows[row] * size.gates + tile * TILE + n * WIDTH);
                float *kept = day.bounded ? day.gates + row * size.gates + tile * TILE : nullptr;
                const Floats h = step_units(day, row * size.hidden + tile * WIDTH, gate, kept);
                if (day.hidden) store(day.hidden + row * size.hidden + tile * WIDTH, rounded_to_bfloat16(h));
                store_halves(number_in(row_in(after, tiling.units, row), tile * WIDTH), h);
            }
        }
    }
}

void forward_tiles(const Shape &shape, const Inputs &inputs, const float *weights, const Activations &kept, int64_t count) {
    const Tiling tiling = tiling_of(shape);
    const Operands all(shape, kept.tiles);
    const int64_t x_day = 2 * tiling.blocks * tiling.inputs * WHOLE, hidden_day = 2 * tiling.blocks * tiling.units * WHOLE;
    TILES_BEGIN;
    for (int64_t day = 0; day < shape.days; day++) {
        Half *x = all.x + day * x_day, *hidden = all.hidden + day * hidden_day;
        inputs_to_tiles(shape, shape.samples, inputs.values + day * inputs.day_stride, inputs.sample_stride, x);
        Day one = kept_day(shape, kept, day);
        if (day < shape.days - count) one.hidden = nullptr;
        forward_day_tiles(shape, weights, one, x, day ? hidden - hidden_day : nullptr, hidden, all.sums);
    }
    TILES_END;
}

// See `backward_gates`; the gradients go where products read them, and not in the place of the activations.
void backward_gates_tiles(const Shape &shape, int64_t day, const Activations &kept, const Operands &all, float *gradients) {
    const Tiling tiling = tiling_of(shape);
    const int64_t column = shape.days * tiling.blocks * WHOLE;
    const DayBack back(shape, kept, day);
    for (int64_t tile = 0; tile < tiles_of(shape.hidden); tile++) {
        Floats totals[4] = {};
        for (int64_t row = 0; row < shape.samples; row += 2) {
            Floats pair[2][4] = {};
            for (int64_t one = 0; one < 2 && row + one < shape.samples; one++) {
                back.sums_of(row + one, tile, pair[one]);
                Half *to = row_in(all.gates, tiling.sums, row + one);
                for (int n = 0; n < 4; n++) {
                    totals[n] += pair[one][n];
                    store_halves(number_in(to, tile * TILE + n * WIDTH), pair[one][n]);
                }
            }
            Half *to = all.paired + 4 * tile * column + (day * tiling.blocks + row / DEPTH) * WHOLE + row % DEPTH * EDGE;
            for (int n = 0; n < 4; n++) store_pairs(to + n * column, paired(pair[0][n], pair[1][n]));
        }
        back.add_biases(tile, totals, gradients);
    }
}

// Operands on the left turned round: what was (row, number) becomes (number, row), for products over rows. Blocks of a day and
// those of the next follow each other.
void turn(const Half *tiles, int64_t along, int64_t blocks, int64_t row_tiles, Half *turned) {
    for (int64_t block = 0; block < blocks; block++)
        for (int64_t at = 0; 2 * at < row_tiles; at++) {
            Bits even[WIDTH], odd[WIDTH];
            for (int64_t pair = 0; pair < EDGE; pair++) {
                const int64_t row = 2 * pair;
                const Half *from = tiles + ((2 * block + row / EDGE) * along + at) * WHOLE + row % EDGE * DEPTH;
                const Bits first = load_pairs(from), second = load_pairs(from + DEPTH);
                even[pair] = (first & 0xffffu) | second << 16;
                odd[pair] = first >> 16 | (second & 0xffff0000u);
            }
            transpose(even);
            transpose(odd);
            for (int64_t number = 0; number < DEPTH; number++) {
                Half *to = turned + ((2 * at + number / EDGE) * blocks + block) * WHOLE + number % EDGE * DEPTH;
                store_pairs(to, number % 2 ? odd[number / 2] : even[number / 2]);
            }
        }
}

// The gradients of W and U as products over all days at once.
void backward_weights_tiles(const Shape &shape, const Operands &all, float *gradients) {
    const Tiling tiling = tiling_of(shape);
    const Sizes size = sizes(shape);
    const int64_t blocks = shape.days * tiling.blocks, before = blocks - tiling.blocks;
    turn(all.x, tiling.inputs, blocks, 2 * tiling.features / EDGE, all.x_turned);
    turn(all.hidden, tiling.units, before, 2 * tiling.units, all.hidden_turned);
    const auto multiply = [&](const Half *left, int64_t count, int64_t tile, const Half *right, float *to) {
        for (int64_t gates = 0; gates < 4; gates += 2) {
            tiles_zero();
            tiles_add<2>({left, count * WHOLE, WHOLE}, {right + (4 * tile + gates) * blocks * WHOLE, blocks * WHOLE, WHOLE}, count);
            tiles_store<2>(to + gates * WIDTH, TILE);
        }
    };
    for (int64_t first = 0; first < 2 * tiling.features; first += DEPTH)
        for (int64_t tile = 0; tile < size.tiles; tile++) {
            multiply(all.x_turned + first / EDGE * blocks * WHOLE, blocks, tile, all.paired, all.sums);
            float *panel = gradients + tile * size.panel + 2 * TILE;
            for (int64_t row = first; row < first + DEPTH; row++) {
                const int64_t feature = row % tiling.features;
                if (feature >= shape.features) continue;
                for (int64_t at = 0; at < TILE; at += WIDTH) {
                    const Floats found = load(all.sums + (row - first) * TILE + at), upper = load(panel + feature * TILE + at);
                    store(panel + feature * TILE + at, row < tiling.features ? found : upper + found);
                }
            }
        }
    for (int64_t first = 0; first < shape.hidden; first += DEPTH)
        for (int64_t tile = 0; tile < size.tiles; tile++) {
            float *to = gradients + tile * size.panel + (2 + shape.features + first) * TILE;
            const int64_t count = shape.hidden - first < DEPTH ? shape.hidden - first : DEPTH;
            float *sums = count < DEPTH ? all.sums : to;
            if (before)
                multiply(all.hidden_turned + first / EDGE * before * WHOLE, before, tile, all.paired + tiling.blocks * WHOLE, sums);
            if (!before)
                memset(to, 0, sizeof(float) * count * TILE);
            else if (sums != to)
                memcpy(to, sums, sizeof(float) * count * TILE);
        }
}

void backward_tiles(const Shape &shape, const float *turned, const Activations &kept, const States &grad, float *gradients) {
    const Tiling tiling = tiling_of(shape);
    const Sizes size = sizes(shape);
    const Operands all(shape, kept.tiles);
    TILES_BEGIN;
    for (int64_t day = shape.days - 1; day >= 0; day--) {
        add_gradients(shape, day, grad, kept.grad_hidden);
        backward_gates_tiles(shape, day, kept, all, gradients);
        if (!day) break;
        for (int64_t first = 0; first < shape.samples; first += DEPTH)
            for (int64_t units = 0; units < tiling.units; units++)
                for_rows(shape.samples - first, [&](auto row_tiles) __attribute__((always_inline)) {
                    constexpr int ROWS = decltype(row_tiles)::value;
                    const Half *right = reinterpret_cast<const Half *>(turned) + 2 * units * tiling.sums * WHOLE;
                    tiles_zero();
                    tiles_add<ROWS>({all.gates + first / EDGE * tiling.sums * WHOLE, tiling.sums * WHOLE, WHOLE},
                                    {right, tiling.sums * WHOLE, WHOLE}, tiling.sums);
                    tiles_store<ROWS>(kept.grad_hidden + first * size.hidden + units * DEPTH, size.hidden);
                });
    }
    backward_weights_tiles(shape, all, gradients);
    TILES_END;
}

} // namespace
