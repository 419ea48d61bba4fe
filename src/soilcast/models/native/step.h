// Steps of training: forward, loss, back-propagation through time and Adam.

namespace {

// Sums the gradients of all parts, from one address of the weights to before another, and changes the weights by them.
INLINE void adam(Member &member, const Rule &rule, int64_t step, int64_t first, int64_t last) {
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
    Part &part = member.part[number];
    const Shape whole = member.shape, shape = {whole.days, part.samples, whole.features, whole.hidden};
    const Sizes size = sizes(whole);
    const float *weights = member.rounded ? member.rounded : member.weights;
    const bool bfloat16 = member.rounded;
    const int64_t first = size.tiles * number / member.parts, last = size.tiles * (number + 1) / member.parts;
    const int64_t head = head_floats(lesson.head, whole.hidden);
    prepare(whole, member.weights, member.rounded, member.turned, first, last);
    soilcast_meet(member.meeting);
    for (int64_t step = 0; step < lesson.steps; step++) {
        const Batch batch = batch_of(member, lesson, step, part.first);
        const Inputs inputs = {batch.windows, batch.day_stride, batch.sample_stride};
        forward(shape, inputs, weights, part.activations, lesson.head.states, bfloat16);
        forecast(member, lesson, step, part);
        soilcast_meet(member.meeting);
        backward_head(member, lesson, step, part);
        if (lesson.trunk_learns) {
            const States grad = {part.grad_states, lesson.head.states, part.samples * whole.hidden, whole.hidden};
            backward(shape, inputs, member.turned, part.activations, grad, part.gradients, bfloat16);
        } else
            memset(part.gradients, 0, sizeof(float) * size.panels);
        if (!lesson.head_learns) memset(part.gradients + size.panels, 0, sizeof(float) * head);
        soilcast_meet(member.meeting);
        for (int64_t tile = first; tile < last; tile++) { // while its weights are in the cache
            adam(member, lesson.rule, step, tile * size.panel, (tile + 1) * size.panel);
            prepare(whole, member.weights, member.rounded, member.turned, tile, tile + 1);
        }
        if (number == 0) adam(member, lesson.rule, step, size.panels, size.panels + head);
        soilcast_meet(member.meeting);
    }
}

} // namespace
