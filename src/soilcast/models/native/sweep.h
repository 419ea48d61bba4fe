// Forecasts: forward through windows without keeping anything, so many at once that all stays in the cache.

namespace {

struct Workspace {
    float *projected; // (row, sum)
    float *gates;     // of one tile
    float *cell;      // (sample, hidden)
    float *hidden[2]; // of a day and of the day before
};

INLINE Workspace workspace_in(const Shape &shape, float *workspace) {
    const Sizes size = sizes(shape);
    float *gates = workspace + SWEPT * shape.days * size.gates, *cell = gates + SWEPT * TILE;
    return {workspace, gates, cell, {cell + SWEPT * size.hidden, cell + 2 * SWEPT * size.hidden}};
}

INLINE void infer_day(const Shape &shape, const float *panels, const Workspace &at, int64_t day, const int64_t *rows,
                      bool bfloat16) {
    const Day one = {at.projected, 0, rows, day ? at.hidden[(day + 1) % 2] : nullptr, day ? at.cell : nullptr, at.gates,
                     at.cell, nullptr, at.hidden[day % 2]};
    forward_day(shape, panels, one, bfloat16);
}

INLINE void copy_states(const Shape &shape, const float *hidden, float *to, int64_t stride) {
    const int64_t apart = sizes(shape).hidden;
    for (int64_t row = 0; row < shape.samples; row++)
        memcpy(to + row * stride, hidden + row * apart, sizeof(float) * shape.hidden);
}

void infer(const Shape &shape, const Inputs &inputs, const float *panels, float *workspace, const States &states,
           bool bfloat16) {
    const Workspace at = workspace_in(shape, workspace);
    int64_t rows[SWEPT];
    for (int64_t row = 0; row < SWEPT; row++) rows[row] = row;
    for (int64_t first = 0; first < shape.samples; first += SWEPT) {
        const int64_t count = shape.samples - first < SWEPT ? shape.samples - first : SWEPT;
        const Shape part = {shape.days, count, shape.features, shape.hidden};
        for (int64_t day = 0; day < shape.days; day++) {
            project(part, count, inputs.values + day * inputs.day_stride + first * inputs.sample_stride, inputs.sample_stride,
                    panels, at.projected);
            infer_day(part, panels, at, day, rows, bfloat16);
            const int64_t given = day - (shape.days - states.count);
            if (given >= 0)
                copy_states(part, at.hidden[day % 2],
                            states.values + given * states.day_stride + first * states.sample_stride, states.sample_stride);
        }
    }
}

// shape.days is the length of a window, shape.samples the number of cells. states: h of the last day of every window (cell,
// window, hidden). What a day's inputs add to the sums is computed once, not for every window that sees the day.
void sweep(const Shape &shape, const Sequences &sequences, const float *panels, float *workspace, float *states,
           bool bfloat16) {
    const Workspace at = workspace_in(shape, workspace);
    const int64_t windows = sequences.days - shape.days + 1, total = shape.samples * windows;
    int64_t rows[SWEPT], next[SWEPT];
    for (int64_t first = 0; first < total; first += SWEPT) {
        const int64_t count = total - first < SWEPT ? total - first : SWEPT;
        // Windows of one cell follow each other in the block, so its days are consecutive rows of the projection.
        int64_t projected = 0;
        for (int64_t row = 0; row < count;) {
            const int64_t cell = (first + row) / windows, window = (first + row) % windows;
            const int64_t of_cell = windows - window < count - row ? windows - window : count - row;
            const int64_t days = of_cell + shape.days - 1;
            project(shape, days, sequences.values + (cell * sequences.days + window) * shape.features, shape.features, panels,
                    at.projected + projected * sizes(shape).gates);
            for (int64_t one = 0; one < of_cell; one++) rows[row++] = projected + one;
            projected += days;
        }
        const Shape part = {shape.days, count, shape.features, shape.hidden};
        for (int64_t day = 0; day < shape.days; day++) {
            for (int64_t row = 0; row < count; row++) next[row] = rows[row] + day;
            infer_day(part, panels, at, day, next, bfloat16);
        }
        copy_states(part, at.hidden[(shape.days - 1) % 2], states + first * shape.hidden, shape.hidden);
    }
}

} // namespace
