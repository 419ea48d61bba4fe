// Steps of training with the head and losses of the paper: forward, loss, back-propagation through time and Adam.

namespace {

constexpr double SMALLEST_SQUARE = 1e-16; // the root of the mean squared error has no gradient at zero

// What a unit is multiplied by: 0, or what makes up for those that are dropped.
INLINE float kept(const Lesson &lesson, const uint16_t *draws, int64_t at) {
    if (!draws) return 1.0f;
    return draws[at] < lesson.dropped_below ? 0.0f : 65536.0f / (65536.0f - lesson.dropped_below);
}

// Eq. 7 of one part.
INLINE void forecast(const Member &member, const Lesson &lesson, const Part &part, const uint16_t *draws) {
    const Sizes size = sizes(member.shape);
    const float *head = member.weights + size.panels, bias = head[size.tiles * WIDTH];
    const float *hidden = part.activations.hidden + (member.shape.days - 1) * part.samples * size.hidden;
    for (int64_t row = 0; row < part.samples; row++) {
        float total = 0;
        for (int64_t unit = 0; unit < member.shape.hidden; unit++)
            total += head[unit] * hidden[row * size.hidden + unit] * kept(lesson, draws, row * member.shape.hidden + unit);
        member.outputs[part.first + row] = total + bias;
    }
}

// Eq. 8: l1 times the RMSE (Eq. 9) plus l2 times Eq. 14, over the whole batch; gradients of it for the samples of a part.
INLINE void loss(const Member &member, const Lesson &lesson, int64_t step, const Part &part) {
    float *grad = part.grad_outputs;
    const int64_t at = step * lesson.targets_stride, count = member.shape.samples;
    const float *sign = lesson.water_sign + at, *depth = lesson.depth ? lesson.depth + at : nullptr;
    const float *scale = lesson.error_scale ? lesson.error_scale + at : nullptr;
    double squares = 0, against_water = 0;
    for (int64_t row = 0; row < count; row++) {
        const double error = (lesson.observed[at + row] - member.outputs[row]) * (scale ? scale[row] : 1.0f);
        squares += error * error;
    }
    // Not a maximum, which would lose a NaN.
    const double mean = squares / count, rmse = __builtin_sqrt(mean < SMALLEST_SQUARE ? SMALLEST_SQUARE : mean);
    for (int64_t row = part.first; row < part.first + part.samples; row++) {
        const double factor = scale ? scale[row] : 1.0f, error = (lesson.observed[at + row] - member.outputs[row]) * factor;
        grad[row - part.first] = static_cast<float>(-lesson.data_weight * error * factor / (count * rmse));
    }
    const bool is_guided = lesson.physical_weight != 0 && depth;
    if (is_guided)
        for (int64_t row = 0; row < count; row++) {
            const double change = (member.outputs[row] - lesson.previous[at + row]) * static_cast<double>(depth[row]);
            const double against = -change * sign[row];
            if (!(against <= 0)) { // NaN is not
                against_water += against * against;
                const int64_t own = row - part.first;
                if (own >= 0 && own < part.samples)
                    grad[own] -= static_cast<float>(lesson.physical_weight * 2.0 / count * sign[row] * against * depth[row]);
            }
        }
    if (part.first == 0) {
        float *losses = lesson.losses + step * lesson.losses_stride;
        losses[1] = static_cast<float>(rmse);
        losses[2] = static_cast<float>(against_water / count);
        losses[0] = lesson.data_weight * losses[1] + (is_guided ? lesson.physical_weight * losses[2] : 0.0f);
    }
}

// Back through Eq. 7: gradients of the head, and by h of the last day into `Part::grad_states`.
INLINE void backward_head(const Member &member, const Lesson &lesson, const Part &part, const uint16_t *draws) {
    const Sizes size = sizes(member.shape);
    const float *head = member.weights + size.panels;
    const float *hidden = part.activations.hidden + (member.shape.days - 1) * part.samples * size.hidden;
    float *gradients = part.gradients + size.panels;
    memset(gradients, 0, sizeof(float) * (size.tiles + 1) * WIDTH);
    for (int64_t row = 0; row < part.samples; row++) {
        for (int64_t unit = 0; unit < member.shape.hidden; unit++) {
            const float share = part.grad_outputs[row] * kept(lesson, draws, row * member.shape.hidden + unit);
            gradients[unit] += share * hidden[row * size.hidden + unit];
            part.grad_states[row * member.shape.hidden + unit] = share * head[unit];
        }
        gradients[size.tiles * WIDTH] += part.grad_outputs[row];
    }
}

// Sums the gradients of all parts, from one address of the weights to another, and changes the weights by them.
INLINE void adam(Member &member, const Lesson &lesson, int64_t step, int64_t first, int64_t last) {
    const Rule &rule = lesson.rule;
    const double taken = static_cast<double>(rule.steps + step + 1);
    const float correction = static_cast<float>(__builtin_sqrt(1.0 - __builtin_pow(rule.beta2, taken)));
    const float rate = static_cast<float>(rule.rate / (1.0 - __builtin_pow(rule.beta1, taken)));
    for (int64_t at = first; at < last; at += WIDTH) {
        Floats gradient = load(member.part[0].gradients + at);
        for (int64_t part = 1; part < member.parts; part++) gradient += load(member.part[part].gradients + at);
        const Floats mean = load(member.mean + at) * rule.beta1 + gradient * (1.0f - rule.beta1);
        const Floats square = load(member.square + at) * rule.beta2 + gradient * gradient * (1.0f - rule.beta2);
        store(member.mean + at, mean);
        store(member.square + at, square);
        Floats root;
        for (int lane = 0; lane < WIDTH; lane++) root[lane] = __builtin_sqrtf(square[lane]);
        store(member.weights + at, load(member.weights + at) - rate * mean / (root / correction + rule.epsilon));
    }
}

void learn(Member &member, const Lesson &lesson, int64_t number) {
    const Part &part = member.part[number];
    const Shape whole = member.shape, shape = {whole.days, part.samples, whole.features, whole.hidden};
    const Sizes size = sizes(whole);
    const float *weights = member.rounded ? member.rounded : member.weights;
    const int64_t first = size.tiles * number / member.parts, last = size.tiles * (number + 1) / member.parts;
    prepare(whole, member.weights, member.rounded, member.turned, first, last);
    soilcast_meet(member.meeting);
    for (int64_t step = 0; step < lesson.steps; step++) {
        const float *windows = lesson.windows + step * lesson.windows_stride + part.first * whole.features;
        const uint16_t *draws =
            lesson.draws ? lesson.draws + step * lesson.draws_stride + part.first * whole.hidden : nullptr;
        const Inputs inputs = {windows, whole.samples * whole.features, whole.features};
        forward(shape, inputs, weights, part.activations, member.bfloat16);
        forecast(member, lesson, part, draws);
        soilcast_meet(member.meeting);
        loss(member, lesson, step, part);
        backward_head(member, lesson, part, draws);
        if (lesson.trunk_learns)
            backward(shape, inputs, member.turned, part.activations, {part.grad_states, 1, 0, whole.hidden}, part.gradients,
                     member.bfloat16);
        else
            memset(part.gradients, 0, sizeof(float) * size.panels);
        if (!lesson.head_learns) memset(part.gradients + size.panels, 0, sizeof(float) * (size.tiles + 1) * WIDTH);
        soilcast_meet(member.meeting);
        adam(member, lesson, step, first * size.panel, last * size.panel);
        prepare(whole, member.weights, member.rounded, member.turned, first, last);
        if (number == 0) adam(member, lesson, step, size.panels, size.panels + (size.tiles + 1) * WIDTH);
        soilcast_meet(member.meeting);
    }
}

} // namespace
