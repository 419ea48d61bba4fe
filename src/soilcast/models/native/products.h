// Register-blocked matrix products: a block of ROWS x VECTORS sums stays in registers.

namespace {

template <int N> struct Constant {
    static constexpr int value = N;
};

// sums[r][n] += sum over k of a[r * row_stride + k * k_stride] * b[k * b_stride + n * WIDTH ...]
template <int ROWS, int VECTORS>
INLINE void accumulate(Floats (&sums)[ROWS][VECTORS], const float *a, int64_t row_stride, int64_t k_stride, const float *b,
                       int64_t b_stride, int64_t count) {
    for (int64_t k = 0; k < count; k++, a += k_stride, b += b_stride) {
        Floats factors[ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) factors[r] = all(a[r * row_stride]);
#pragma GCC unroll 4
        for (int n = 0; n < VECTORS; n++) {
            const Floats column = load(b + n * WIDTH);
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) sums[r][n] += factors[r] * column;
        }
    }
}

template <int ROWS, typename Work> INLINE void one_block(int64_t rows, int64_t row, const Work &work) {
    if constexpr (ROWS > 0) {
        if (rows == ROWS)
            work(Constant<ROWS>(), row);
        else
            one_block<ROWS - 1>(rows, row, work);
    }
}

// Work on blocks of at most BLOCK rows. The last two share what is left, as one row alone would wait for its own sums.
template <typename Work> INLINE void in_blocks(int64_t rows, const Work &work) {
    int64_t row = 0;
    for (; rows - row > BLOCK + 1; row += BLOCK) work(Constant<BLOCK>(), row);
    if (rows - row > BLOCK) {
        work(Constant<BLOCK - 1>(), row);
        row += BLOCK - 1;
    }
    one_block<BLOCK>(rows - row, row, work);
}

} // namespace
