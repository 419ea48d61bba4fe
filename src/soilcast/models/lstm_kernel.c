/* Eq. 1-6 of Geng et al. (2024) for many samples at once, after the matrix products: the part of an LSTM that torch
   does in ten passes over memory is one here. Loaded by lstm_kernel.py, which does the same with torch where this is missing.

   Gates lie as (row, 4 * hidden) in torch's order: input, forget, candidate, output. Rows are samples. NaN stays NaN.
   Plain loops over plain arrays: the compiler turns them into the widest vectors that the processor has. */

#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EVERY_PROCESSOR
#endif
#define INLINE static inline __attribute__((always_inline))

/* exp within 2 units in the last place (Cephes). Held to +-40, so that products of four stay finite: a gate is shut or
   open to float32 long before. */
INLINE float exponential(float x) {
    x = x < -40.0f ? -40.0f : x;
    x = x > 40.0f ? 40.0f : x;
    float n = __builtin_rintf(x * 1.44269504f);
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t exponent = (int32_t)((uint32_t)((int32_t)n + 127) << 23);
    float power;
    memcpy(&power, &exponent, sizeof power);
    return p * power;
}

INLINE float hyperbolic_tangent(float x) {
    float e = exponential(-2.0f * x);
    return (1.0f - e) / (1.0f + e);
}

INLINE float from_bfloat16(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

INLINE uint16_t to_bfloat16(float value) { /* to nearest, ties to even; |value| <= 1 here, or NaN, which stays one */
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (uint16_t)(value == value ? rounded : 0x7fc0u);
}

/* gates: sums in, activations out. before: c_{t-1}, or null where it is 0. Writes c_t, tanh(c_t) and h_t. */
FOR_EVERY_PROCESSOR
void soilcast_cell_forward(int64_t rows, int64_t hidden, float *restrict gates, const float *restrict before,
                           float *restrict cell, float *restrict bounded, float *restrict output) {
    for (int64_t row = 0; row < rows; row++) {
        float *restrict i = gates + row * 4 * hidden, *restrict f = i + hidden, *restrict g = f + hidden,
                        *restrict o = g + hidden;
        const int64_t at = row * hidden;
        for (int64_t j = 0; j < hidden; j++) {
            float ei = 1.0f + exponential(-i[j]), ef = 1.0f + exponential(-f[j]);
            float eg = exponential(-2.0f * g[j]), eo = 1.0f + exponential(-o[j]);
            /* one division for two gates: divisions are the slow part */
            float both = 1.0f / (ei * ef), others = 1.0f / ((1.0f + eg) * eo);
            i[j] = ef * both;
            f[j] = ei * both;
            g[j] = (1.0f - eg) * eo * others;
            o[j] = (1.0f + eg) * others;
        }
        if (before)
            for (int64_t j = 0; j < hidden; j++) cell[at + j] = f[j] * before[at + j] + i[j] * g[j];
        else
            for (int64_t j = 0; j < hidden; j++) cell[at + j] = i[j] * g[j];
        for (int64_t j = 0; j < hidden; j++) {
            bounded[at + j] = hyperbolic_tangent(cell[at + j]);
            output[at + j] = o[j] * bounded[at + j];
        }
    }
}

/* gates: activations in, slopes of the loss by the sums out. slope_output: by h_t. slope_cell: by c_t from the days
   after (ignored on the last), by c_{t-1} out. */
FOR_EVERY_PROCESSOR
void soilcast_cell_backward(int64_t rows, int64_t hidden, float *restrict gates, const float *restrict before,
                            const float *restrict bounded, const float *restrict slope_output,
                            float *restrict slope_cell, int32_t last) {
    const float carried = last ? 0.0f : 1.0f;
    for (int64_t row = 0; row < rows; row++) {
        float *restrict i = gates + row * 4 * hidden, *restrict f = i + hidden, *restrict g = f + hidden,
                        *restrict o = g + hidden;
        const int64_t at = row * hidden;
        if (last)
            for (int64_t j = 0; j < hidden; j++) slope_cell[at + j] = 0.0f;
        for (int64_t j = 0; j < hidden; j++) {
            float y = bounded[at + j], dh = slope_output[at + j], oj = o[j];
            float dc = dh * oj * (1.0f - y * y) + carried * slope_cell[at + j];
            float ij = i[j], fj = f[j], gj = g[j];
            o[j] = dh * y * oj * (1.0f - oj);
            i[j] = dc * gj * ij * (1.0f - ij);
            g[j] = dc * ij * (1.0f - gj * gj);
            slope_cell[at + j] = dc * fj;
            f[j] = dc * fj * (1.0f - fj);
        }
        if (before)
            for (int64_t j = 0; j < hidden; j++) f[j] *= before[at + j];
        else
            for (int64_t j = 0; j < hidden; j++) f[j] = 0.0f;
    }
}

/* A day of a forecast: sums = from_inputs + from_output (null on the first day); c and h are those of the day before
   in, of the day out. Nothing is kept for a backward pass. */
#define INFER(NAME, TYPE, READ, WRITE)                                                                                \
    FOR_EVERY_PROCESSOR                                                                                               \
    void NAME(int64_t rows, int64_t hidden, const float *restrict from_inputs, const TYPE *restrict from_output,     \
              float *restrict cell, TYPE *restrict output) {                                                          \
        for (int64_t row = 0; row < rows; row++) {                                                                    \
            const float *restrict x = from_inputs + row * 4 * hidden;                                                 \
            const TYPE *restrict u = from_output + (from_output ? row * 4 * hidden : 0);                              \
            float *restrict c = cell + row * hidden;                                                                  \
            TYPE *restrict h = output + row * hidden;                                                                 \
            const int64_t f = hidden, g = 2 * hidden, o = 3 * hidden;                                                 \
            if (from_output)                                                                                          \
                for (int64_t j = 0; j < hidden; j++) {                                                                \
                    float ei = 1.0f + exponential(-(x[j] + READ(u[j])));                                              \
                    float ef = 1.0f + exponential(-(x[f + j] + READ(u[f + j])));                                      \
                    float eg = exponential(-2.0f * (x[g + j] + READ(u[g + j])));                                      \
                    float eo = 1.0f + exponential(-(x[o + j] + READ(u[o + j])));                                      \
                    /* c = sigma(f) c + sigma(i) tanh(g), over one denominator */                                     \
                    float input = ei * (1.0f + eg);                                                                   \
                    c[j] = (c[j] * input + (1.0f - eg) * ef) / (input * ef);                                          \
                    float ec = exponential(-2.0f * c[j]);                                                             \
                    h[j] = WRITE((1.0f - ec) / ((1.0f + ec) * eo));                                                   \
                }                                                                                                     \
            else                                                                                                      \
                for (int64_t j = 0; j < hidden; j++) {                                                                \
                    float ei = 1.0f + exponential(-x[j]), eg = exponential(-2.0f * x[g + j]);                         \
                    float eo = 1.0f + exponential(-x[o + j]);                                                         \
                    c[j] = (1.0f - eg) / (ei * (1.0f + eg));                                                          \
                    float ec = exponential(-2.0f * c[j]);                                                             \
                    h[j] = WRITE((1.0f - ec) / ((1.0f + ec) * eo));                                                   \
                }                                                                                                     \
        }                                                                                                             \
    }

#define AS_IT_IS(value) (value)
INFER(soilcast_cell_infer_float32, float, AS_IT_IS, AS_IT_IS)
INFER(soilcast_cell_infer_bfloat16, uint16_t, from_bfloat16, to_bfloat16)

/* Two threads that work on halves of a batch meet twice a step, some hundred microseconds apart. Waking a thread through
   the system takes as long as half of that, so they watch a number instead: closely at first, then ever more at ease. */
void soilcast_wait_for(const int64_t *number, int64_t value) {
    for (int64_t looks = 0; __atomic_load_n(number, __ATOMIC_ACQUIRE) != value; looks++) {
        if (looks < 4096) {
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
        } else if (looks < 8192)
            sched_yield();
        else { /* from 50 microseconds to 2 milliseconds: a team that has nothing to do takes nothing from others */
            const int64_t naps = looks - 8192;
            const struct timespec moment = {0, naps < 156 ? 50000 + naps * 12500 : 2000000};
            nanosleep(&moment, 0);
        }
    }
}

void soilcast_set(int64_t *number, int64_t value) { __atomic_store_n(number, value, __ATOMIC_RELEASE); }
