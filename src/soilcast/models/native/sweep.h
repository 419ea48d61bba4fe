// Forecasts: forward through windows without keeping anything, so many at once that all stays in the cache.

namespace {

constexpr int64_t SWEPT = 48; // windows that are forecast together: what belongs to them stays in the cache

struct Workspace {
    float *projected; // (row, sum)
    float *gates;     // of one tile
    float *cell;      // (sample, hidden)
    float *hidden[2]; // of a day and of the day before
    float *tiles;
    int64_t floats;

    Workspace(const Shape &shape, float *memory) : floats(0) {
        const Sizes size = sizes(shape);
        const auto take = [&](int64_t count) {
            float *const at = memory ? memory + floats : nullptr;
            floats += whole_vectors(count);
            return at;
        };
        projected = take((SWEPT * shape.days + ROOM) * size.gates);
        gates = take(SWEPT * TILE);
        cell = take(SWEPT * size.hidden);
        for (float *&one : hidden) one = take(SWEPT * size.hidden);
        tiles = memory ? memory + floats : nullptr;
    }
};

// Two days of as many samples.
INLINE Shape swept(const Shape &shape) { return {2, SWEPT, shape.features, shape.hidden}; }

Needs needs(const Shape &shape) {
    const Sizes size = sizes(shape);
    const int64_t infer = Workspace(shape, nullptr).floats;
#ifdef TILES
    return {size.tiles * tiling_of(shape).panel / 2, Operands(shape, nullptr).floats, infer + Operands(swept(shape), nullptr).floats};
#else
    return {size.panels, 0, infer};
#endif
}

void project(const Shape &shape, int64_t rows, const float *x, int64_t x_stride, const float *panels, const Workspace &at,
             float *sums_of, bool bfloat16) {
#ifdef TILES
    if (bfloat16) return project_tiles(shape, rows, x, x_stride, panels, Operands(swept(shape), at.tiles).x, sums_of);
#endif
    (void)at, (void)bfloat16;
    project_floats(shape, rows, x, x_stride, panels, sums_of);
}

INLINE void infer_day(const Shape &shape, const float *panels, const Workspace &at, int64_t day, const int64_t *rows,
                      bool is_kept, bool bfloat16) {
    const int64_t now = day % 2;
    Day one = {at.projected, 0, rows, day ? at.hidden[1 - now] : nullptr, day ? at.cell : nullptr, at.gates,
               at.cell, nullptr, at.hidden[now]};
#ifdef TILES
    if (bfloat16) {
        const Operands all(swept(shape), at.tiles);
        Half *const hidden[] = {all.hidden, all.hidden + (all.gates - all.hidden) / 2};
        if (!is_kept) one.hidden = nullptr;
        return forward_day_tiles(shape, panels, one, nullptr, day ? hidden[1 - now] : nullptr, hidden[now], all.sums);
    }
#endif
    forward_day_floats(shape, panels, one, bfloat16);
}

// Between the two a thread works on tiles.
INLINE void begin(bool bfloat16) {
    (void)bfloat16;
#ifdef TILES
    if (bfloat16) TILES_BEGIN;
#endif
}
INLINE void end(bool bfloat16) {
    (void)bfloat16;
#ifdef TILES
    if (bfloat16) TILES_END;
#endif
}

INLINE void copy_states(const Shape &shape, const float *hidden, float *to, int64_t stride) {
    const int64_t apart = sizes(shape).hidden;
    for (int64_t row = 0; row < shape.samples; row++)
        memcpy(to + row * stride, hidden + row * apart, sizeof(float) * shape.hidden);
}

void infer(const Shape &shape, const Inputs &inputs, const float *panels, float *workspace, const States &states,
           bool bfloat16) {
    const Workspace at(shape, workspace);
    int64_t rows[SWEPT];
    begin(bfloat16);
    for (int64_t row = 0; row < SWEPT; row++) rows[row] = row;
    for (int64_t first = 0; first < shape.samples; first += SWEPT) {
        const int64_t count = shape.samples - first < SWEPT ? shape.samples - first : SWEPT;
        const Shape part = {shape.days, count, shape.features, shape.hidden};
        for (int64_t day = 0; day < shape.days; day++) {
            project(part, count, inputs.values + day * inputs.day_stride + first * inputs.sample_stride, inputs.sample_stride,
                    panels, at, at.projected, bfloat16);
            const int64_t given = day - (shape.days - states.count);
            infer_day(part, panels, at, day, rows, given >= 0, bfloat16);
            if (given >= 0)
                copy_states(part, at.hidden[day % 2],
                            states.values + given * states.day_stride + first * states.sample_stride, states.sample_stride);
        }
    }
    end(bfloat16);
}

// shape.days is the length of a window, shape.samples the number of cells. states: h of the last day of every window (cell,
// window, hidden). What a day's inputs add to the sums is computed once, not for every window that sees the day.
void sweep(const Shape &shape, const Sequences &sequences, const float *panels, float *workspace, float *states,
           bool bfloat16) {
    const Workspace at(shape, workspace);
    const int64_t windows = sequences.days - shape.days + 1, total = shape.samples * windows;
    int64_t rows[SWEPT], next[SWEPT];
    begin(bfloat16);
    for (int64_t first = 0; first < total; first += SWEPT) {
        const int64_t count = total - first < SWEPT ? total - first : SWEPT;
        // Windows of one cell follow each other in the block, so its days are consecutive rows of the projection.
        int64_t projected = 0;
        for (int64_t row = 0; row < count;) {
            const int64_t cell = (first + row) / windows, window = (first + row) % windows;
            const int64_t of_cell = windows - window < count - row ? windows - window : count - row;
            const int64_t days = of_cell + shape.days - 1;
            project(shape, days, sequences.values + (cell * sequences.days + window) * shape.features, shape.features, panels, at,
                    at.projected + projected * sizes(shape).gates, bfloat16);
            for (int64_t one = 0; one < of_cell; one++) rows[row++] = projected + one;
            projected += days;
        }
        const Shape part = {shape.days, count, shape.features, shape.hidden};
        for (int64_t day = 0; day < shape.days; day++) {
            for (int64_t row = 0; row < count; row++) next[row] = rows[row] + day;
            infer_day(part, panels, at, day, next, day == shape.days - 1, bfloat16);
        }
        copy_states(part, at.hidden[(shape.days - 1) % 2], states + first * shape.hidden, shape.hidden);
    }
    end(bfloat16);
}

} // namespace
