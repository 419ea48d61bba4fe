// The native engine: an LSTM (Eq. 1-6 of Geng et al., 2024) that is trained and forecasts on a CPU, without Python, torch or
// allocation inside a step. One table of functions for each instruction set (portable.cpp, avx2.cpp, ...); interface.cpp
// chooses one at run time and shares the work among threads.
//
// Arrays are float32 and row-major. Gates lie in torch's order: input, forget, candidate, output.
#pragma once

#include <cstdint>

struct Shape { // of a trunk, and of the samples that go through it
    int64_t days, samples, features, hidden;
};

struct Parameters { // of one member in torch's layout: W (4 * hidden, feature), U (4 * hidden, hidden), both halves of b
    float *inputs, *output, *bias_inputs, *bias_output;
};

// What the kernels work on. For each group of `width` hidden units one panel of rows b_ih, b_hh, W (feature) and U (hidden),
// each of 4 * width floats, the gates one behind the other; and U turned round, which back-propagation multiplies with.
struct Sizes {
    int64_t tiles;                 // groups of hidden units
    int64_t panel, panels, turned; // floats of a panel, of all panels, and of the turned U
    int64_t gates, hidden;         // floats from one sample to the next in `Activations`
    int64_t infer;                 // floats of the workspace of `infer`
};

struct Activations { // of some samples, kept for back-propagation
    float *gates, *cell, *bounded, *hidden; // (day, sample, ...), bounded is tanh(c)
    float *grad_hidden, *grad_cell;         // (sample, hidden)
};

struct Inputs { // x of a day and sample lies at values + day * day_stride + sample * sample_stride
    const float *values;
    int64_t day_stride, sample_stride;
};

struct States { // h, or gradients of the loss with respect to it, of the last `count` days
    float *values;
    int64_t count, day_stride, sample_stride;
};

struct Sequences { // cells whose windows of consecutive days overlap: (cell, day, feature)
    const float *values;
    int64_t days;
};

struct Rule { // Adam, with the learning rate of each step
    float rate, beta1, beta2, epsilon;
    int64_t steps; // that were taken before
};

// One member's training with the head and losses of the paper (Eq. 7-9, 14), one step after the other. Arrays are (step,
// sample, ...), from one step to the next `..._stride` floats apart; null where there is none.
struct Member;
struct Lesson {
    int64_t steps;
    const float *windows;                                             // (day, sample, feature)
    const float *observed, *previous, *water_sign, *error_scale, *depth; // (sample)
    const uint16_t *draws;                                            // of dropout (sample, hidden)
    float *losses;                                                    // total, of the data, physical
    int64_t windows_stride, targets_stride, draws_stride, losses_stride;
    uint32_t dropped_below; // units whose draw is below are dropped
    float data_weight, physical_weight; // l1, l2
    bool trunk_learns, head_learns;
    Rule rule;
};

struct Engine {
    const char *name;
    bool (*is_supported)();
    int64_t width;
    Sizes (*sizes)(const Shape &);
    // All of these work on the tiles from `first` to before `last`.
    void (*pack)(const Shape &, const Parameters &, float *panels, int64_t first, int64_t last);
    void (*unpack)(const Shape &, const float *panels, const Parameters &, int64_t first, int64_t last);
    // What the products read: copies whose U is rounded to bfloat16 if `rounded`, and U turned round if `turned`.
    void (*prepare)(const Shape &, const float *panels, float *rounded, float *turned, int64_t first, int64_t last);
    void (*forward)(const Shape &, const Inputs &, const float *panels, const Activations &, bool bfloat16);
    void (*backward)(const Shape &, const Inputs &, const float *turned, const Activations &, const States &grad,
                     float *gradients, bool bfloat16);
    void (*infer)(const Shape &, const Inputs &, const float *panels, float *workspace, const States &, bool bfloat16);
    void (*sweep)(const Shape &, const Sequences &, const float *panels, float *workspace, float *states, bool bfloat16);
    void (*learn)(Member &, const Lesson &, int64_t part);
};

extern const Engine soilcast_portable, soilcast_avx2, soilcast_avx512;

// Threads that meet: each waits until all `size` have come.
struct Meeting {
    int64_t size, come, round;
};
void soilcast_meet(Meeting &);

struct Part { // of a member's batch, and the thread that works on it
    int64_t first, samples;
    Activations activations;
    float *gradients; // like `Member::weights`
    float *grad_outputs, *grad_states; // by the forecasts (sample), and by h of the last day (sample, hidden)
};

struct Member {
    Shape shape;
    bool bfloat16;
    // Panels, and behind them the head: its weights (hidden), padded to whole vectors, and a vector that begins with its bias.
    float *weights, *mean, *square;
    float *rounded, *turned;        // see Engine::prepare; rounded is null for float32
    float *outputs;                 // (sample)
    Meeting meeting;
    int64_t parts;
    Part *part;
};
