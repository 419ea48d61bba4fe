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
};

struct Needs { // floats of memory of its own that an engine needs
    int64_t rounded; // for the weights of a member in bfloat16
    int64_t tiles;   // of a part of a batch in bfloat16; zero at first
    int64_t infer;   // workspace of `infer` and `sweep`; zero at first
};

struct Activations { // of some samples, kept for back-propagation
    float *gates, *cell, *bounded, *hidden; // (day, sample, ...), bounded is tanh(c)
    float *grad_hidden, *grad_cell;         // (sample, hidden), with room for ROOM samples more
    float *tiles;                           // see Needs
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

constexpr int64_t MOST_LEVELS = 64;
constexpr int64_t ROOM = 31; // rows more than there are samples that products may write

// One linear layer for each lead, on the state of its day or of the issue day, and on columns of the window that skip the trunk:
// heads.Head. What it gives, (lead, layer, number), is soil moisture and the raw numbers of its distribution.
struct Head {
    int64_t leads, states, layers, numbers;
    int64_t skipped, skip_day;
    const int64_t *skip_columns;
    // Soil moisture is forecast as `change` times the departure from a column of the window, of one day or of each lead's.
    int64_t has_origin, origin_column, origin_day, origin_moves;
    float change;
    bool lead1_only; // lead 1 alone reaches the trunk
};

// Eq. 8: l1 times the loss of the data, the mean of e^2 or of that and the pinball losses of some levels (its root: Eq. 9), and
// l2 times Eq. 14, of one lead and layer.
struct Loss {
    const float *levels, *lead_weights; // lead_weights: null for 1
    int64_t levels_count;
    float data_weight, physical_weight;
    bool is_root, is_guided;
};

// Steps of training, one a batch. Arrays are (step, member, ...), null where there is none.
struct Lesson {
    int64_t steps, members, channels;
    const float *windows;                                 // (day, sample, channel), the trunk's features first
    int64_t window_days;
    const float *observed, *error_scale;                  // (sample, lead, layer)
    const float *previous, *depth;                        // (sample, layer)
    const float *water_sign;                              // (sample, lead)
    const uint16_t *draws;                                // of dropout (sample, lead, hidden)
    float *losses;                                        // total, of the data, physical
    uint32_t dropped_below;                               // units whose draw is below are dropped
    bool trunk_learns, head_learns;
    Head head;
    Loss loss;
    Rule rule;
};

// Threads that meet: each waits until all `size` have come.
struct Meeting {
    int64_t size, come, round;
};
void soilcast_meet(Meeting &);

struct Sums { // over the forecasts of a part
    double score, count, against_water;
};

struct Part { // of a member's batch, and the thread that works on it
    int64_t first, samples;
    Activations activations;
    Sums sums;
    float *gradients;                              // like `Member::weights`
    float *features, *grad_feature;                // of the head: of each sample and lead, and by those of one
    float *grad_outputs, *grad_water, *grad_states; // by (sample, lead, layer, number), by Eq. 14, by (state, sample, hidden)
};

struct Member {
    int64_t number;
    Shape shape;
    // Panels, and behind them the head: rows of weights and the biases, each in whole vectors.
    float *weights, *mean, *square;
    float *rounded, *turned; // see Engine::prepare; rounded is null for float32
    Meeting meeting;
    int64_t parts;
    Part *part;
};

struct Engine {
    const char *name;
    bool (*is_supported)();
    int64_t width;
    Sizes (*sizes)(const Shape &);
    Needs (*needs)(const Shape &);
    // All of these work on the tiles from `first` to before `last`.
    void (*pack)(const Shape &, const Parameters &, float *panels, int64_t first, int64_t last);
    void (*unpack)(const Shape &, const float *panels, const Parameters &, int64_t first, int64_t last);
    // What the products read: `rounded` for bfloat16, and U turned round if `turned`.
    void (*prepare)(const Shape &, const float *panels, float *rounded, float *turned, int64_t first, int64_t last);
    // h of the last `count` days is kept.
    void (*forward)(const Shape &, const Inputs &, const float *panels, const Activations &, int64_t count, bool bfloat16);
    void (*backward)(const Shape &, const Inputs &, const float *turned, const Activations &, const States &grad,
                     float *gradients, bool bfloat16);
    void (*infer)(const Shape &, const Inputs &, const float *panels, float *workspace, const States &, bool bfloat16);
    void (*sweep)(const Shape &, const Sequences &, const float *panels, float *workspace, float *states, bool bfloat16);
    int64_t (*head_floats)(const Head &, int64_t hidden);
    void (*move_head)(const Head &, int64_t hidden, float *weights, float *bias, float *packed, bool into);
    int64_t (*feature_floats)(int64_t features);
    void (*learn)(Member &, const Lesson &, int64_t part);
};

extern const Engine soilcast_portable, soilcast_avx2, soilcast_avx512, soilcast_amx;
