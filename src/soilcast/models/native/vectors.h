// Vectors of WIDTH floats, which each instruction set's file defines before it includes this one, and the gates' arithmetic.
//
// Everything here has internal linkage: the same names are compiled once for each instruction set.

#include <cstdint>
#include <cstring>

#include "engine.h"

#define INLINE inline __attribute__((always_inline))

namespace {

typedef float Floats __attribute__((vector_size(4 * WIDTH)));
typedef int32_t Integers __attribute__((vector_size(4 * WIDTH)));
typedef uint32_t Bits __attribute__((vector_size(4 * WIDTH)));
typedef float Unaligned __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

constexpr int64_t TILE = 4 * WIDTH; // the four gates of WIDTH hidden units

INLINE Floats load(const float *from) { return *reinterpret_cast<const Unaligned *>(from); }
INLINE void store(float *to, Floats values) { *reinterpret_cast<Unaligned *>(to) = values; }
INLINE Floats all(float value) { return value - Floats{}; }

// The nearest bfloat16, ties to even; NaN stays NaN.
INLINE Floats rounded_to_bfloat16(Floats values) {
    const Bits bits = reinterpret_cast<Bits>(values);
    const Bits nearest = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
    return values == values ? reinterpret_cast<Floats>(nearest) : values;
}

#ifdef AVX512
INLINE Floats at_least(float least, Floats x) { return _mm512_max_ps(_mm512_set1_ps(least), x); } // NaN stays NaN
INLINE Floats at_most(float most, Floats x) { return _mm512_min_ps(_mm512_set1_ps(most), x); }
INLINE Floats times_power_of_two(Floats x, Floats, Floats n) { return _mm512_scalef_ps(x, n); }
INLINE Floats reciprocal(Floats x) { // of 14 bits, and one step of Newton's
    const Floats near = _mm512_rcp14_ps(x);
    return near * (2.0f - x * near);
}
#else
INLINE Floats at_least(float least, Floats x) { return x < least ? all(least) : x; }
INLINE Floats at_most(float most, Floats x) { return x > most ? all(most) : x; }
INLINE Floats times_power_of_two(Floats x, Floats shifted, Floats) {
    return x * reinterpret_cast<Floats>((reinterpret_cast<Bits>(shifted) << 23) + 0x3f800000u);
}
INLINE Floats reciprocal(Floats x) { return 1.0f / x; }
#endif

// exp(FACTOR x) within 2 units in the last place (Cephes). Held to +-40, so that products of four stay finite: a gate is shut
// or open to float32 long before. NaN stays NaN.
template <int FACTOR> INLINE Floats exponential(Floats x) {
    constexpr float MOST = 40.0f / (FACTOR < 0 ? -FACTOR : FACTOR);
    x = at_most(MOST, at_least(-MOST, x));
    constexpr float TIMES = FACTOR;
    const Floats shifted = x * (TIMES * 1.44269504f) + 12582912.0f; // its last bits are the nearest integer
    const Floats n = shifted - 12582912.0f;
    const Floats r = x * TIMES - n * 0.693359375f + n * 2.12194440e-4f;
    Floats p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * r + 1.0f) * r + 1.0f;
    return times_power_of_two(p, shifted, n);
}

INLINE Floats hyperbolic_tangent(Floats x) {
    const Floats e = exponential<-2>(x);
    return (1.0f - e) * reciprocal(1.0f + e);
}

// Activations of the four gates (input, forget, candidate, output) from their sums, in place: Eq. 1-4.
INLINE void activate(Floats (&gates)[4]) {
    const Floats ei = 1.0f + exponential<-1>(gates[0]), ef = 1.0f + exponential<-1>(gates[1]);
    const Floats eg = exponential<-2>(gates[2]), eo = 1.0f + exponential<-1>(gates[3]);
    // One reciprocal for two gates: divisions are the slow part.
    const Floats both = reciprocal(ei * ef), others = reciprocal((1.0f + eg) * eo);
    gates[0] = ef * both;
    gates[1] = ei * both;
    gates[2] = (1.0f - eg) * eo * others;
    gates[3] = (1.0f + eg) * others;
}

INLINE float sum(Floats values) {
    float total = 0;
    for (int lane = 0; lane < WIDTH; lane++) total += values[lane];
    return total;
}

} // namespace
