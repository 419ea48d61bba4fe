// The engines against each other, at shapes that are no multiple of anything, in memory of just the size that they may touch.
// test_native.py compiles and runs this with sanitizers, and under valgrind.

#include "../../../src/soilcast/models/native/engine.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

struct Trunk;
struct State {
    Parameters trunk;
    float *head, *bias;
};

extern "C" {
extern int64_t soilcast_least_operations;
int64_t soilcast_engines();
const char *soilcast_engine_name(int64_t engine);
int64_t soilcast_engine_is_supported(int64_t engine);
Trunk *soilcast_trunk_new(int64_t engine, int64_t threads, int64_t members, const Shape *, int64_t bfloat16);
void soilcast_trunk_free(Trunk *);
void soilcast_trunk_forward(Trunk *, const Inputs *, int64_t, const Parameters *, int64_t, float *states, int64_t count);
void soilcast_trunk_backward(Trunk *, const Inputs *, int64_t, const float *grad, int64_t count, const Parameters *, int64_t);
int64_t soilcast_infer(int64_t engine, int64_t threads, int64_t members, const Shape *, int64_t bfloat16, const Inputs *,
                       int64_t, int64_t days, const Parameters *, int64_t, float *states, int64_t count);
int64_t soilcast_learn(int64_t engine, int64_t threads, const Shape *, int64_t bfloat16, const Lesson *, const State *,
                       const State *, const State *, int64_t stride);
}

namespace {

typedef std::vector<float> Array;
uint32_t seed = 1;

float next() {
    seed = seed * 1664525u + 1013904223u;
    return static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
}

Array random(int64_t count, float scale = 1.0f) {
    Array made(count);
    for (float &one : made) one = scale * next();
    return made;
}

int failures = 0;

void compare(const char *what, const char *engine, const Array &found, const Array &expected, double most) {
    double largest = 0;
    for (size_t at = 0; at < found.size(); at++) {
        const double away = std::fabs(found[at] - expected[at]);
        if (!(away <= largest)) largest = away;
    }
    if (largest < most) return;
    std::printf("%s by %s is %g away\n", what, engine, largest);
    failures++;
}

Parameters parameters_in(Array &stacked, const Shape &shape) {
    float *inputs = stacked.data(), *output = inputs + 4 * shape.hidden * shape.features;
    float *bias = output + 4 * shape.hidden * shape.hidden;
    return {inputs, output, bias, bias + 4 * shape.hidden};
}

struct Found {
    Array states, gradients, inferred, swept, weights, losses;
};

Found run(int64_t engine, const Shape &shape, int64_t members, int64_t count, int64_t threads, int64_t bfloat16) {
    seed = 1;
    const int64_t trunk = 4 * shape.hidden * (shape.features + shape.hidden + 2);
    const int64_t leads = count, layers = 2, numbers = 4, rows = leads * layers * numbers, skipped = 1;
    const int64_t stride = trunk + rows * (shape.hidden + skipped + 1), windows_each = shape.days * shape.samples;
    const int64_t channels = shape.features + 1;
    Array weights = random(members * stride, 0.3f), windows = random(2 * members * windows_each * channels);
    const Parameters parameters = parameters_in(weights, shape);
    const Inputs inputs = {windows.data(), shape.samples * channels, channels};
    const int64_t of_member = windows_each * channels, states = members * count * shape.samples * shape.hidden;
    Found found = {Array(states), Array(members * stride), Array(states), {}, {}, Array(2 * members * 3)};
    Trunk *made = soilcast_trunk_new(engine, threads, members, &shape, bfloat16);
    const Array grad = random(states);
    const Parameters gradients = parameters_in(found.gradients, shape);
    for (int again = 0; again < 2; again++) {
        soilcast_trunk_forward(made, &inputs, of_member, &parameters, stride, found.states.data(), count);
        soilcast_trunk_backward(made, &inputs, of_member, grad.data(), count, &gradients, stride);
    }
    soilcast_trunk_free(made);
    soilcast_infer(engine, threads, members, &shape, bfloat16, &inputs, of_member, 0, &parameters, stride,
                   found.inferred.data(), count);
    const int64_t days = shape.days + 4;
    Array sequences = random(shape.samples * days * shape.features);
    const Inputs sequence = {sequences.data(), shape.features, shape.features};
    found.swept.resize(members * shape.samples * 5 * shape.hidden);
    soilcast_infer(engine, threads, members, &shape, bfloat16, &sequence, 0, days, &parameters, stride, found.swept.data(), 1);
    const int64_t samples = 2 * members * shape.samples;
    Array observed = random(samples * leads * layers), scale = random(samples * leads * layers), mean(members * stride),
          square(members * stride);
    observed[1] = NAN;
    std::vector<uint16_t> draws(samples * leads * shape.hidden);
    for (uint16_t &one : draws) one = static_cast<uint16_t>(32768 * (next() + 1));
    const float levels[] = {0.1f, 0.5f, 0.9f};
    const std::vector<int64_t> columns = {shape.features};
    Lesson lesson = {};
    lesson.steps = 2;
    lesson.members = members;
    lesson.channels = channels;
    lesson.windows = windows.data();
    lesson.window_days = shape.days;
    lesson.observed = observed.data();
    lesson.error_scale = scale.data();
    lesson.draws = draws.data();
    lesson.losses = found.losses.data();
    lesson.dropped_below = 9830;
    lesson.trunk_learns = lesson.head_learns = true;
    lesson.head = {leads, count, layers, numbers, skipped, shape.days - 1, columns.data(), 1, 0, 0, 0, 0.3f, false};
    lesson.loss = {levels, nullptr, 3, 1.0f, 0.0f, false, false};
    lesson.rule = {1e-6f, 0.9f, 0.999f, 1e-8f, 0};
    const auto state = [&](Array &of) {
        float *head = of.data() + trunk;
        return State{parameters_in(of, shape), head, head + rows * (shape.hidden + skipped)};
    };
    const State of_weights = state(weights), of_mean = state(mean), of_square = state(square);
    soilcast_learn(engine, threads, &shape, bfloat16, &lesson, &of_weights, &of_mean, &of_square, stride);
    found.weights = mean;
    return found;
}

void check(const Shape &shape, int64_t members, int64_t bfloat16) {
    // Where a sum is rounded the other way, a bfloat16 h differs by its last bit, and all that follows a little.
    const double most = bfloat16 ? 4e-3 : 1e-4;
    const int64_t count = shape.samples % 2 + 1;
    const Found expected = run(0, shape, members, count, 1, bfloat16);
    for (int64_t engine = 0; engine < soilcast_engines(); engine++) {
        if (!soilcast_engine_is_supported(engine)) continue;
        const char *name = soilcast_engine_name(engine);
        const Found found = run(engine, shape, members, count, 3, bfloat16);
        compare("states", name, found.states, expected.states, most);
        compare("gradients", name, found.gradients, expected.gradients, 4 * most);
        compare("inferred states", name, found.inferred, expected.inferred, most);
        compare("swept states", name, found.swept, expected.swept, most);
        compare("moving average of gradients", name, found.weights, expected.weights, most);
        compare("losses", name, found.losses, expected.losses, most);
    }
}

} // namespace

int main() {
    soilcast_least_operations = 1; // the smallest batches are split too
    int64_t number = 0;
    for (int64_t hidden : {1, 7, 16, 33})
        for (int64_t samples : {1, 2, 5, 13}) {
            check({hidden % 2 ? 3 : 2, samples, hidden % 4 + 1, hidden}, 1 + (number + number / 4) % 2, 0);
            number++;
        }
    check({2, 5, 1, 64}, 2, 0);
    check({3, 2, 1, 7}, 2, 1);
    check({2, 13, 17, 16}, 1, 1);
    check({2, 70, 2, 33}, 1, 1); // parts of more than one tile of rows
    std::printf("%d differences\n", failures);
    return failures ? 1 : 0;
}
