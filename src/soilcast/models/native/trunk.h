// Forward and backward through time of one part of a batch.

namespace {

constexpr int64_t APART = 16;  // floats between rows, so that those of a column fall into different sets of the cache
constexpr int64_t AT_ONCE = 128; // rows of the turned U that stay in the innermost cache

INLINE int64_t whole_vectors(int64_t count) { return (count + WIDTH - 1) / WIDTH * WIDTH; }
INLINE int64_t tiles_of(int64_t hidden) { return (hidden + WIDTH - 1) / WIDTH; }
INLINE int64_t panel_of(const Shape &shape) { return (2 + shape.features + shape.hidden) * TILE; }

Sizes sizes(const Shape &shape) {
    const int64_t tiles = tiles_of(shape.hidden), panel = panel_of(shape);
    return {tiles, panel, tiles * panel, tiles * TILE * tiles * WIDTH, tiles * TILE + APART, tiles * WIDTH + APART};
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

void prepare_floats(const Shape &shape, const float *panels, float *rounded, float *turned, int64_t first, int64_t last) {
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
void project_floats(const Shape &shape, int64_t rows, const float *x, int64_t x_stride, const float *panels, float *sums_of) {
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

// Eq. 1-6 of some units of one sample, which lie at `at` in their arrays. `gates` are their sums; gives h.
INLINE Floats step_units(const Day &day, int64_t at, Floats (&gates)[4], float *kept) {
    activate(gates);
    Floats c = gates[0] * gates[2];
    if (day.cell_before) c += gates[1] * load(day.cell_before + at);
    const Floats y = hyperbolic_tangent(c);
    store(day.cell + at, c);
    if (kept) {
        store(day.bounded + at, y);
        for (int n = 0; n < 4; n++) store(kept + n * WIDTH, gates[n]);
    }
    return gates[3] * y;
}

// Of one tile after the products: `gates` holds the sums, and then, if they are kept, the activations.
void activate_tile(const Shape &shape, const Day &day, int64_t tile, float *gates, int64_t stride, bool bfloat16) {
    for (int64_t row = 0; row < shape.samples; row++) {
        const int64_t at = row * sizes(shape).hidden + tile * WIDTH;
        Floats gate[4];
        for (int n = 0; n < 4; n++) gate[n] = load(gates + row * stride + n * WIDTH);
        const Floats h = step_units(day, at, gate, day.bounded ? gates + row * stride : nullptr);
        store(day.hidden + at, bfloat16 ? rounded_to_bfloat16(h) : h);
    }
}

void forward_day_floats(const Shape &shape, const float *panels, const Day &day, bool bfloat16) {
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

// A day of a part of a batch without its inputs.
INLINE Day kept_day(const Shape &shape, const Activations &kept, int64_t day) {
    const Sizes size = sizes(shape);
    const int64_t at = day * shape.samples * size.hidden, before = at - shape.samples * size.hidden;
    return {nullptr, 0, nullptr, day ? kept.hidden + before : nullptr, day ? kept.cell + before : nullptr,
            kept.gates + day * shape.samples * size.gates, kept.cell + at, kept.bounded + at, kept.hidden + at};
}

void forward_floats(const Shape &shape, const Inputs &inputs, const float *panels, const Activations &kept, bool bfloat16) {
    for (int64_t day = 0; day < shape.days; day++) {
        Day one = kept_day(shape, kept, day);
        one.x = inputs.values + day * inputs.day_stride;
        one.x_stride = inputs.sample_stride;
        forward_day_floats(shape, panels, one, bfloat16);
    }
}

// Adds to the gradients by h of a day those that the loss has itself, or begins with them.
void add_gradients(const Shape &shape, int64_t day, const States &grad, float *grad_hidden) {
    const Sizes size = sizes(shape);
    const int64_t given = day - (shape.days - grad.count);
    if (day == shape.days - 1) memset(grad_hidden, 0, sizeof(float) * shape.samples * size.hidden);
    if (given < 0) return;
    for (int64_t row = 0; row < shape.samples; row++)
        for (int64_t unit = 0; unit < shape.hidden; unit++)
            grad_hidden[row * size.hidden + unit] += grad.values[given * grad.day_stride + row * grad.sample_stride + unit];
}

// The gradients of the loss by the sums of a day, from those by its h and by c of the day behind.
struct DayBack {
    const Day day;
    const Sizes size;
    const int64_t panel;
    const bool last;
    const float *grad_hidden;
    float *grad_cell;

    DayBack(const Shape &shape, const Activations &kept, int64_t number)
        : day(kept_day(shape, kept, number)), size(sizes(shape)), panel(panel_of(shape)), last(number == shape.days - 1),
          grad_hidden(kept.grad_hidden), grad_cell(kept.grad_cell) {}

    INLINE void sums_of(int64_t row, int64_t tile, Floats (&sums)[4]) const {
        const float *gate = day.gates + row * size.gates + tile * TILE;
        const int64_t at = row * size.hidden + tile * WIDTH;
        const Floats i = load(gate), f = load(gate + WIDTH), g = load(gate + 2 * WIDTH), o = load(gate + 3 * WIDTH);
        const Floats y = load(day.bounded + at), dh = load(grad_hidden + at);
        Floats dc = dh * o * (1.0f - y * y);
        if (!last) dc += load(grad_cell + at);
        store(grad_cell + at, dc * f);
        sums[0] = dc * g * i * (1.0f - i);
        sums[1] = day.cell_before ? dc * f * (1.0f - f) * load(day.cell_before + at) : Floats{};
        sums[2] = dc * i * (1.0f - g * g);
        sums[3] = dh * y * o * (1.0f - o);
    }

    INLINE void add_biases(int64_t tile, const Floats (&totals)[4], float *gradients) const {
        float *biases = gradients + tile * panel;
        for (int n = 0; n < 4; n++) {
            const Floats total = last ? totals[n] : load(biases + n * WIDTH) + totals[n];
            store(biases + n * WIDTH, total);
            store(biases + TILE + n * WIDTH, total);
        }
    }
};

// All of a day's, in place of its activations; adds those of the biases up.
void backward_gates(const Shape &shape, int64_t day, const Activations &kept, float *gradients, bool bfloat16) {
    const DayBack back(shape, kept, day);
    for (int64_t tile = 0; tile < back.size.tiles; tile++) {
        Floats totals[4] = {};
        for (int64_t row = 0; row < shape.samples; row++) {
            Floats sums[4];
            back.sums_of(row, tile, sums);
            float *gate = back.day.gates + row * back.size.gates + tile * TILE;
            for (int n = 0; n < 4; n++) {
                totals[n] += sums[n];
                store(gate + n * WIDTH, bfloat16 ? rounded_to_bfloat16(sums[n]) : sums[n]);
            }
        }
        back.add_biases(tile, totals, gradients);
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

void backward_floats(const Shape &shape, const Inputs &inputs, const float *turned, const Activations &kept, const States &grad,
                     float *gradients, bool bfloat16) {
    const Sizes size = sizes(shape);
    for (int64_t day = shape.days - 1; day >= 0; day--) {
        const bool last = day == shape.days - 1;
        float *gates = kept.gates + day * shape.samples * size.gates;
        add_gradients(shape, day, grad, kept.grad_hidden);
        backward_gates(shape, day, kept, gradients, bfloat16);
        const float *hidden_before = kept_day(shape, kept, day).hidden_before;
        for (int64_t tile = 0; tile < size.tiles; tile++) {
            float *panel = gradients + tile * size.panel + 2 * TILE;
            const float *sums = gates + tile * TILE;
            backward_weights(shape.features, shape.samples, inputs.values + day * inputs.day_stride, inputs.sample_stride, sums,
                             size.gates, panel, last);
            float *recurrent = panel + shape.features * TILE;
            if (day)
                backward_weights(shape.hidden, shape.samples, hidden_before, size.hidden, sums, size.gates, recurrent,
                                 last);
            else if (last)
                memset(recurrent, 0, sizeof(float) * shape.hidden * TILE);
        }
        if (day) backward_hidden(shape, gates, turned, kept.grad_hidden);
    }
}

} // namespace
