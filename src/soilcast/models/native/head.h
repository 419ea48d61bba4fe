// The head on the trunk's states, and the loss of what it forecasts, with its gradients.

namespace {

constexpr double SMALLEST_SQUARE = 1e-16; // the root of a mean square has no gradient at zero
constexpr float LARGEST_RAW = 1e4f;       // raw numbers of a distribution are held within

// A part's batch of one step.
struct Batch {
    const float *windows;
    int64_t day_stride, sample_stride;
    const float *observed, *error_scale, *previous, *depth, *water_sign;
    const uint16_t *draws;
};

INLINE const float *window_of(const Batch &batch, int64_t sample, int64_t day) {
    return batch.windows + day * batch.day_stride + sample * batch.sample_stride;
}

INLINE Batch batch_of(const Member &member, const Lesson &lesson, int64_t step, int64_t first) {
    const Head &head = lesson.head;
    const int64_t samples = member.shape.samples, number = step * lesson.members + member.number;
    const int64_t sample = number * samples + first;
    const auto at = [&](const float *start, int64_t each) { return start ? start + sample * each : nullptr; };
    return {lesson.windows + (number * lesson.window_days * samples + first) * lesson.channels,
            samples * lesson.channels,
            lesson.channels,
            at(lesson.observed, head.leads * head.layers),
            at(lesson.error_scale, head.leads * head.layers),
            at(lesson.previous, head.layers),
            at(lesson.depth, head.layers),
            at(lesson.water_sign, head.leads),
            lesson.draws ? lesson.draws + sample * head.leads * member.shape.hidden : nullptr};
}

int64_t head_floats(const Head &head, int64_t hidden) {
    const int64_t rows = head.leads * head.layers * head.numbers;
    return rows * whole_vectors(hidden + head.skipped) + whole_vectors(rows);
}

// Between torch's layout, weights (row, feature) and bias (row), and whole vectors.
void move_head(const Head &head, int64_t hidden, float *weights, float *bias, float *packed, bool into) {
    const int64_t rows = head.leads * head.layers * head.numbers, features = hidden + head.skipped;
    const int64_t stride = whole_vectors(features);
    if (into) memset(packed, 0, sizeof(float) * head_floats(head, hidden));
    for (int64_t row = 0; row < rows; row++) {
        float *there = packed + row * stride, *here = weights + row * features;
        memcpy(into ? there : here, into ? here : there, sizeof(float) * features);
    }
    float *there = packed + rows * stride;
    memcpy(into ? there : bias, into ? bias : there, sizeof(float) * rows);
}

// Where the inputs of a lead lie: the trunk's state of its day, or of the only one.
INLINE int64_t state_of(const Head &head, int64_t lead) { return head.states == 1 ? 0 : lead; }

// What dropout multiplies a unit by.
INLINE float kept(const Lesson &lesson, const uint16_t *draws, int64_t at) {
    if (!draws) return 1.0f;
    return draws[at] < lesson.dropped_below ? 0.0f : 65536.0f / (65536.0f - static_cast<float>(lesson.dropped_below));
}

// The score of one error e under raw numbers, its gradient by e, and by the raw numbers into `grad_raw`.
struct Score {
    float value, grad;
};

INLINE Score score(const Loss &loss, const float *raw, float e, float *grad_raw) {
    Score found = {e * e, 2.0f * e};
    const int64_t count = loss.levels_count, middle = count / 2;
    if (count == 0) return found;
    float quantile[MOST_LEVELS], grad[MOST_LEVELS], bounded[MOST_LEVELS];
    for (int64_t at = 0; at < count; at++)
        bounded[at] = raw[at] < -LARGEST_RAW ? -LARGEST_RAW : raw[at] > LARGEST_RAW ? LARGEST_RAW : raw[at];
    float climb[MOST_LEVELS];
    climb[0] = 0;
    for (int64_t at = 1; at < count; at++)
        climb[at] = climb[at - 1] + (bounded[at] > 20.0f ? bounded[at] : __builtin_log1pf(__builtin_expf(bounded[at])));
    for (int64_t at = 0; at < count; at++) {
        quantile[at] = bounded[0] + (climb[at] - climb[middle]);
        const float away = e - quantile[at], level = loss.levels[at], over = level * away, under = (level - 1.0f) * away;
        const float slope = (over >= under ? level : level - 1.0f) / static_cast<float>(count);
        found.value += (over >= under ? over : under) / static_cast<float>(count);
        found.grad += slope;
        grad[at] = -slope;
    }
    float before = 0, all_of_them = 0;
    for (int64_t at = 0; at < count; at++) all_of_them += grad[at];
    for (int64_t at = 0; at < count; at++) {
        // A gap moves the quantiles beyond it, away from the middle.
        const float moved = at == 0 ? all_of_them : at > middle ? all_of_them - before : -before;
        const float slope = at == 0 ? 1.0f : 1.0f / (1.0f + __builtin_expf(-bounded[at]));
        grad_raw[at] = bounded[at] == raw[at] ? moved * slope : 0.0f;
        before += grad[at];
    }
    return found;
}

// Forecasts of a part and their scores: sums into `Part::sums`, and gradients by what the head gives, before the root and the
// mean, into `Part::grad_outputs` (data) and `Part::grad_water` (Eq. 14, which is of one lead and layer).
void forecast(const Member &member, const Lesson &lesson, int64_t step, Part &part) {
    const Head &head = lesson.head;
    const Loss &loss = lesson.loss;
    const Sizes size = sizes(member.shape);
    const int64_t hidden = member.shape.hidden, features = hidden + head.skipped, stride = whole_vectors(features);
    const int64_t rows = head.layers * head.numbers, states = member.shape.days - head.states;
    const float *weights = member.weights + size.panels, *bias = weights + head.leads * rows * stride;
    const Batch batch = batch_of(member, lesson, step, part.first);
    part.sums = {0, 0, 0};
    for (int64_t sample = 0; sample < part.samples; sample++)
        for (int64_t lead = 0; lead < head.leads; lead++) {
            const int64_t one = sample * head.leads + lead;
            float *feature = part.features + one * stride;
            const float *state = part.activations.hidden +
                                 ((states + state_of(head, lead)) * part.samples + sample) * size.hidden;
            for (int64_t unit = 0; unit < hidden; unit++)
                feature[unit] = state[unit] * kept(lesson, batch.draws, one * hidden + unit);
            for (int64_t column = 0; column < head.skipped; column++)
                feature[hidden + column] = window_of(batch, sample, head.skip_day)[head.skip_columns[column]];
            for (int64_t at = features; at < stride; at++) feature[at] = 0.0f;
            const float *origin = head.has_origin ? window_of(batch, sample, head.origin_day + lead * head.origin_moves) : nullptr;
            for (int64_t layer = 0; layer < head.layers; layer++) {
                float output[1 + MOST_LEVELS], *grad = part.grad_outputs + (one * head.layers + layer) * head.numbers;
                for (int64_t number = 0; number < head.numbers; number++) {
                    const int64_t row = lead * rows + layer * head.numbers + number;
                    Floats total = {};
                    for (int64_t at = 0; at < stride; at += WIDTH) total += load(weights + row * stride + at) * load(feature + at);
                    output[number] = sum(total) + bias[row];
                }
                const float unit = origin ? head.change : 1.0f;
                const float level = origin ? origin[head.origin_column + layer] + unit * output[0] : output[0];
                const int64_t target = one * head.layers + layer;
                const float factor = batch.error_scale ? batch.error_scale[target] : 1.0f;
                const float error = (batch.observed[target] - level) * factor;
                const bool is_one = head.leads * head.layers == 1; // never drawn without an observation
                if (!is_one && !(error - error == 0.0f)) {
                    memset(grad, 0, sizeof(float) * head.numbers);
                    continue;
                }
                const float weight = loss.lead_weights ? loss.lead_weights[lead] : 1.0f;
                const Score found = score(loss, output + 1, error, grad + 1);
                part.sums.score += static_cast<double>(found.value) * weight;
                part.sums.count += 1;
                grad[0] = -found.grad * factor * unit * weight;
                for (int64_t number = 1; number < head.numbers; number++) grad[number] *= weight;
                if (!loss.is_guided) continue;
                const float sign = batch.water_sign[target], depth = batch.depth[target];
                const float against = -(level - batch.previous[target]) * depth * sign;
                const bool follows = against <= 0; // NaN does not
                part.sums.against_water += follows ? 0.0 : static_cast<double>(against) * against;
                part.grad_water[target] = follows ? 0.0f : -2.0f * sign * against * depth * unit;
            }
        }
}

// Eq. 8 of the whole batch, once all parts have their sums; gradients of it by the trunk's states and by the head.
void backward_head(const Member &member, const Lesson &lesson, int64_t step, Part &part) {
    const Head &head = lesson.head;
    const Loss &loss = lesson.loss;
    const Sizes size = sizes(member.shape);
    const int64_t hidden = member.shape.hidden, stride = whole_vectors(hidden + head.skipped);
    const int64_t rows = head.layers * head.numbers, all_rows = head.leads * rows;
    Sums total = {0, 0, 0};
    for (int64_t other = 0; other < member.parts; other++) {
        total.score += member.part[other].sums.score;
        total.count += member.part[other].sums.count;
        total.against_water += member.part[other].sums.against_water;
    }
    const double count = total.count < 1 ? 1 : total.count, mean = total.score / count;
    // Not a maximum, which would lose a NaN.
    const double of_data = loss.is_root ? __builtin_sqrt(mean < SMALLEST_SQUARE ? SMALLEST_SQUARE : mean) : mean;
    const float data = static_cast<float>(loss.data_weight / count / (loss.is_root ? 2 * of_data : 1));
    const float water = static_cast<float>(loss.physical_weight / count);
    if (part.first == 0) {
        float *losses = lesson.losses + (step * lesson.members + member.number) * 3;
        losses[1] = static_cast<float>(of_data);
        losses[2] = static_cast<float>(total.against_water / count);
        losses[0] = loss.data_weight * losses[1] + (loss.is_guided ? loss.physical_weight * losses[2] : 0.0f);
    }
    const float *weights = member.weights + size.panels;
    float *grad_weights = part.gradients + size.panels, *grad_bias = grad_weights + all_rows * stride;
    const Batch batch = batch_of(member, lesson, step, part.first);
    memset(grad_weights, 0, sizeof(float) * head_floats(head, hidden));
    memset(part.grad_states, 0, sizeof(float) * head.states * part.samples * hidden);
    for (int64_t sample = 0; sample < part.samples; sample++)
        for (int64_t lead = 0; lead < head.leads; lead++) {
            const int64_t one = sample * head.leads + lead;
            const float *feature = part.features + one * stride;
            float *grad_feature = part.grad_feature;
            memset(grad_feature, 0, sizeof(float) * stride);
            for (int64_t row = 0; row < rows; row++) {
                float grad = part.grad_outputs[one * rows + row] * data;
                if (loss.is_guided && row % head.numbers == 0) grad += part.grad_water[one * head.layers + row / head.numbers] * water;
                const int64_t at_row = (lead * rows + row) * stride;
                for (int64_t at = 0; at < stride; at += WIDTH) {
                    store(grad_weights + at_row + at, load(grad_weights + at_row + at) + grad * load(feature + at));
                    store(grad_feature + at, load(grad_feature + at) + grad * load(weights + at_row + at));
                }
                grad_bias[lead * rows + row] += grad;
            }
            if (head.lead1_only && lead) continue;
            float *grad_state = part.grad_states + (state_of(head, lead) * part.samples + sample) * hidden;
            for (int64_t unit = 0; unit < hidden; unit++)
                grad_state[unit] += grad_feature[unit] * kept(lesson, batch.draws, one * hidden + unit);
        }
}

} // namespace
