// Forward and backward through time of one part of a batch.

namespace {

constexpr int64_t APART = 16;  // floats between rows, so that those of a column fall into different sets of the cache
constexpr int64_t SWEPT = 48;  // windows that are forecast together: what belongs to them stays in the cache
constexpr int64_t AT_ONCE = 128; // rows of the turned U that stay in the innermost cache

INLINE int64_t tiles_of(int64_t hidden) { return (hidden + WIDTH - 1) / WIDTH; }
INLINE int64_t panel_of(const Shape &shape) { return (2 + shape.features + shape.hidden) * TILE; }

Sizes sizes(const Shape &shape) {
    const int64_t tiles = tiles_of(shape.hidden), panel = panel_of(shape);
    const int64_t wide = tiles * TILE + APART, narrow = tiles * WIDTH + APART;
    const int64_t infer = SWEPT * (shape.days * wide + TILE + 3 * narrow);
    return {tiles, panel, tiles * panel, tiles * TILE * tiles * WIDTH, wide, narrow, infer};
}

// Calls work(address in the panels, address in torch's layout) for every parameter of some tiles.
template <typename Work>
INLINE void for_each_parameter(const Shape &shape, const Parameters &parameters, float *panels, int64_t first, int64_t last,
                               const Work &work) {
    for (int64_t unit = first * WIDTH; unit < last * WIDTH && unit < shape.hidden; unit++)
        for (int64_t gate = 0; gate < 4; gate++) {
            const int64_t sum = gate * shape.hidden + unit;
            float *at = panels + unit / WIDTH * panel_of(shape) + gate * WIDTH + unit % WIDTH;
            work(at, parameters.bias_inputs + sum);
            work(at + TILE, parameters.bias_output + sum);
            at += 2 * TILE;
            for (int64_t row = 0; row < shape.features; row++, at += TILE) work(at, parameters.inputs + sum * shape.features + row);
            for (int64_t row = 0; row < shape.hidden; row++, at += TILE) work(at, parameters.output + sum * shape.hidden + row);
        }
}

void pack(const Shape &shape, const Parameters &parameters, float *panels, int64_t first, int64_t last) {
    memset(panels + first * panel_of(shape), 0, sizeof(float) * (last - first) * panel_of(shape));
    for_each_parameter(shape, parameters, panels, first, last, [](float *packed, const float *given)
                           __attribute__((always_inline)) { *packed = *given; });
}

void unpack(const Shape &shape, const float *panels, const Parameters &parameters, int64_t first, int64_t last) {
    for_each_parameter(shape, parameters, const_cast<float *>(panels), first, last, [](const float *packed, float *given)
                           __attribute__((always_inline)) { *given = *packed; });
}

// The turned U: for every four tiles of units a panel of a row for each sum (tile, gate, unit), so many vectors wide.
INLINE int64_t vectors_of(int64_t tiles, int64_t first) { return tiles - first < 4 ? tiles - first : 4; }

void prepare(const Shape &shape, const float *panels, float *rounded, float *turned, int64_t first, int64_t last) {
    const int64_t tiles = tiles_of(shape.hidden), panel = panel_of(shape), skip = (2 + shape.features) * TILE;
    for (int64_t tile = first; tile < last; tile++) {
        const float *from = panels + tile * panel;
        if (rounded) {
            float *to = rounded + tile * panel;
            memcpy(to, from, sizeof(float) * skip);
            for (int64_t at = skip; at < panel; at += WIDTH) store(to + at, rounded_to_bfloat16(load(from + at)));
            from = to;
        }
        if (!turned) continue;
        for (int64_t unit = 0; unit < tiles * WIDTH; unit++) {
            const int64_t group = unit / TILE, columns = vectors_of(tiles, group * 4) * WIDTH;
            float *to = turned + group * TILE * tiles * TILE + tile * TILE * columns + unit % TILE;
            const float *row = from + skip + unit * TILE;
            for (int64_t sum = 0; sum < TILE; sum++) to[sum * columns] = unit < shape.hidden ? row[sum] : 0.0f;
        }
    }
}

template <int ROWS>
INLINE void begin_with_inputs(const Shape &shape, const float *x, int64_t x_stride, const float *weights,
                              Floats (&sums)[ROWS][4]) {
    for (int n = 0; n < 4; n++) {
        const Floats bias = load(weights + n * WIDTH) + load(weights + TILE + n * WIDTH);
        for (int r = 0; r < ROWS; r++) sums[r][n] = bias;
    }
    accumulate<ROWS, 4>(sums, x, x_stride, 1, weights + 2 * TILE, TILE, shape.features);
}

// What the inputs of some rows add to the sums: b + W x, (row, sum).
void project(const Shape &shape, int64_t rows, const float *x, int64_t x_stride, const float *panels, float *sums_of) {
    const Sizes size = sizes(shape);
    for (int64_t tile = 0; tile < size.tiles; tile++) {
        const float *weights = panels + tile * size.panel;
        in_blocks(rows, [&](auto count, int64_t row) __attribute__((always_inline)) {
            constexpr int ROWS = decltype(count)::value;
            Floats sums[ROWS][4];
            begin_with_inputs<ROWS>(shape, x + row * x_stride, x_stride, weights, sums);
            for (int r = 0; r < ROWS; r++)
                for (int n = 0; n < 4; n++) store(sums_of + (row + r) * size.gates + tile * TILE + n * WIDTH, sums[r][n]);
        });
    }
}

struct Day { // where the arrays of one day of some samples begin; null: h and c before the first day, what is not kept
    const float *x; // inputs, or if `x_rows`, which give the row of each sample, what `project` made of them
    int64_t x_stride;
    const int64_t *x_rows;
    const float *hidden_before, *cell_before;
    float *gates; // a row for each sample, or room for the sums of one tile at a time
    float *cell, *bounded, *hidden;
};

// Eq. 1-6 of one tile after the products: `gates` holds the sums, and then the activations.
void activate_tile(const Shape &shape, const Day &day, int64_t tile, float *gates, int64_t stride, bool bfloat16) {
    const int64_t apart = sizes(shape).hidden;
    for (int64_t row = 0; row < shape.samples; row++) {
        const int64_t at = row * apart + tile * WIDTH;
        Floats gate[4];
        for (int n = 0; n < 4; n++) gate[n] = load(gates + row * stride + n * WIDTH);
        activate(gate);
        Floats c = gate[0] * gate[2];
        if (day.cell_before) c += gate[1] * load(day.cell_before + at);
        const Floats y = hyperbolic_tangent(c), h = gate[3] * y;
        store(day.cell + at, c);
        store(day.hidden + at, bfloat16 ? rounded_to_bfloat16(h) : h);
        if (!day.bounded) continue;
        store(day.bounded + at, y);
        for (int n = 0; n < 4; n++) store(gates + row * stride + n * WIDTH, gate[n]);
    }
}

void forward_day(const Shape &shape, const float *panels, const Day &day, bool bfloat16) {
    const Sizes size = sizes(shape);
    const int64_t stride = day.bounded ? size.gates : TILE;
    for (int64_t tile = 0; tile < size.tiles; tile++) {
        const float *weights = panels + tile * size.panel;
        float *gates = day.bounded ? day.gates + tile * TILE : day.gates;
        in_blocks(shape.samples, [&](auto rows, int64_t row) __attribute__((always_inline)) {
            constexpr int ROWS = decltype(rows)::value;
            Floats sums[ROWS][4];
            if (day.x_rows) {
                for (int r = 0; r < ROWS; r++)
                    for (int n = 0; n < 4; n++)
                        sums[r][n] = load(day.x + day.x_rows[row + r] * size.gates + tile * TILE + n * WIDTH);
            } else
                begin_with_inputs<ROWS>(shape, day.x + row * day.x_stride, day.x_stride, weights, sums);
            if (day.hidden_before)
                accumulate<ROWS, 4>(sums, day.hidden_before + row * size.hidden, size.hidden, 1,
                                    weights + (2 + shape.features) * TILE, TILE, shape.hidden);
            for (int r = 0; r < ROWS; r++)
                for (int n = 0; n < 4; n++) store(gates + (row + r) * stride + n * WIDTH, sums[r][n]);
        });
        activate_tile(shape, day, tile, gates, stride, bfloat16);
    }
}

void forward(const Shape &shape, const Inputs &inputs, const float *panels, const Activations &kept, bool bfloat16) {
    const Sizes size = sizes(shape);
    for (int64_t day = 0; day < shape.days; day++) {
        const int64_t at = day * shape.samples * size.hidden, before = at - shape.samples * size.hidden;
        const Day one = {inputs.values + day * inputs.day_stride, inputs.sample_stride, nullptr,
                         day ? kept.hidden + before : nullptr, day ? kept.cell + before : nullptr,
                         kept.gates + day * shape.samples * size.gates, kept.cell + at, kept.bounded + at, kept.hidden + at};
        forward_day(shape, panels, one, bfloat16);
    }
}

// The gradients of the loss by a day's sums, in place of its activations; adds those of the biases up.
void backward_gates(const Shape &shape, bool last, bool bfloat16, float *gates, const float *cell_before, const float *bounded,
                           const float *grad_hidden, float *grad_cell, float *gradients) {
    const Sizes size = sizes(shape);
    for (int64_t tile = 0; tile < size.tiles; tile++) {
        Floats totals[4] = {};
        for (int64_t row = 0; row < shape.samples; row++) {
            float *gate = gates + row * size.gates + tile * TILE;
            const int64_t at = row * size.hidden + tile * WIDTH;
            const Floats i = load(gate), f = load(gate + WIDTH), g = load(gate + 2 * WIDTH), o = load(gate + 3 * WIDTH);
            const Floats y = load(bounded + at), dh = load(grad_hidden + at);
            Floats dc = dh * o * (1.0f - y * y);
            if (!last) dc += load(grad_cell + at);
            store(grad_cell + at, dc * f);
            Floats sums[4] = {dc * g * i * (1.0f - i), Floats{}, dc * i * (1.0f - g * g), dh * y * o * (1.0f - o)};
            if (cell_before) sums[1] = dc * f * (1.0f - f) * load(cell_before + at);
            for (int n = 0; n < 4; n++) {
                totals[n] += sums[n];
                store(gate + n * WIDTH, bfloat16 ? rounded_to_bfloat16(sums[n]) : sums[n]);
            }
        }
        float *biases = gradients + tile * panel_of(shape);
        for (int n = 0; n < 4; n++) {
            const Floats total = last ? totals[n] : load(biases + n * WIDTH) + totals[n];
            store(biases + n * WIDTH, total);
            store(biases + TILE + n * WIDTH, total);
        }
    }
}

// gradients (row, TILE) of one tile's panel: adds a day's, or begins with them. a: (sample, row), b: gradients by the sums.
void backward_weights(int64_t rows, int64_t samples, const float *a, int64_t a_stride, const float *b,
                             int64_t b_stride, float *gradients, bool begins) {
    in_blocks(rows, [&](auto count, int64_t row) __attribute__((always_inline)) {
        constexpr int ROWS = decltype(count)::value;
        Floats sums[ROWS][4];
        for (int r = 0; r < ROWS; r++)
            for (int n = 0; n < 4; n++) sums[r][n] = begins ? Floats{} : load(gradients + (row + r) * TILE + n * WIDTH);
        accumulate<ROWS, 4>(sums, a + row, 1, a_stride, b, b_stride, samples);
        for (int r = 0; r < ROWS; r++)
            for (int n = 0; n < 4; n++) store(gradients + (row + r) * TILE + n * WIDTH, sums[r][n]);
    });
}

template <int VECTORS>
INLINE void backward_hidden_columns(const Shape &shape, const float *gates, const float *turned, float *grad_hidden,
                                    int64_t column) {
    const Sizes size = sizes(shape);
    const int64_t sums_count = size.tiles * TILE;
    for (int64_t first = 0; first < sums_count; first += AT_ONCE) {
        const int64_t count = sums_count - first < AT_ONCE ? sums_count - first : AT_ONCE;
        in_blocks(shape.samples, [&](auto rows, int64_t row) __attribute__((always_inline)) {
            constexpr int ROWS = decltype(rows)::value;
            Floats sums[ROWS][VECTORS];
            float *to = grad_hidden + row * size.hidden + column;
            for (int r = 0; r < ROWS; r++)
                for (int n = 0; n < VECTORS; n++) sums[r][n] = first ? load(to + r * size.hidden + n * WIDTH) : Floats{};
            accumulate<ROWS, VECTORS>(sums, gates + row * size.gates + first, size.gates, 1, turned + first * VECTORS * WIDTH,
                                      VECTORS * WIDTH, count);
            for (int r = 0; r < ROWS; r++)
                for (int n = 0; n < VECTORS; n++) store(to + r * size.hidden + n * WIDTH, sums[r][n]);
        });
    }
}

// grad_hidden of the day before from the gradients by a day's sums.
void backward_hidden(const Shape &shape, const float *gates, const float *turned, float *grad_hidden) {
    const int64_t tiles = tiles_of(shape.hidden);
    for (int64_t first = 0; first < tiles; first += 4) {
        const float *panel = turned + first * WIDTH * tiles * TILE;
        switch (vectors_of(tiles, first)) {
        case 4: backward_hidden_columns<4>(shape, gates, panel, grad_hidden, first * WIDTH); break;
        case 3: backward_hidden_columns<3>(shape, gates, panel, grad_hidden, first * WIDTH); break;
        case 2: backward_hidden_columns<2>(shape, gates, panel, grad_hidden, first * WIDTH); break;
        default: backward_hidden_columns<1>(shape, gates, panel, grad_hidden, first * WIDTH);
        }
    }
}

void backward(const Shape &shape, const Inputs &inputs, const float *turned, const Activations &kept, const States &grad,
              float *gradients, bool bfloat16) {
    const Sizes size = sizes(shape);
    for (int64_t day = shape.days - 1; day >= 0; day--) {
        const bool last = day == shape.days - 1;
        float *gates = kept.gates + day * shape.samples * size.gates;
        const int64_t at = day * shape.samples * size.hidden, before = at - shape.samples * size.hidden;
        const int64_t given = day - (shape.days - grad.count);
        if (last) memset(kept.grad_hidden, 0, sizeof(float) * shape.samples * size.hidden);
        if (given >= 0)
            for (int64_t row = 0; row < shape.samples; row++)
                for (int64_t unit = 0; unit < shape.hidden; unit++)
                    kept.grad_hidden[row * size.hidden + unit] +=
                        grad.values[given * grad.day_stride + row * grad.sample_stride + unit];
        backward_gates(shape, last, bfloat16, gates, day ? kept.cell + before : nullptr, kept.bounded + at,
                       kept.grad_hidden, kept.grad_cell, gradients);
        for (int64_t tile = 0; tile < size.tiles; tile++) {
            float *panel = gradients + tile * size.panel + 2 * TILE;
            const float *sums = gates + tile * TILE;
            backward_weights(shape.features, shape.samples, inputs.values + day * inputs.day_stride, inputs.sample_stride, sums,
                             size.gates, panel, last);
            float *recurrent = panel + shape.features * TILE;
            if (day)
                backward_weights(shape.hidden, shape.samples, kept.hidden + before, size.hidden, sums, size.gates, recurrent,
                                 last);
            else if (last)
                memset(recurrent, 0, sizeof(float) * shape.hidden * TILE);
        }
        if (day) backward_hidden(shape, gates, turned, kept.grad_hidden);
    }
}

} // namespace
