/* matvec, for every type: out = W x (+ bias) for 1 to 8 columns. A warp per row; a lane decodes 8
 * weights at a time and uses them for all columns. matvec1 is for one column, matvec8 for up to
 * 8; matvec_id makes one column for each pair of a token and a slot, with that slot's expert, a
 * blockIdx.y per pair. The types that matter most have a faster form for one column in
 * matvec_fast.cu. */
#include "load.h"

/* 8 weights times their part of x, of which the first n are there. */
DEVICE_FN float dot_8(const float *v, const float *x, uint32_t n, float sum)
{
    if (n >= 8)
        for (uint32_t j = 0; j < 8; j++) sum = K_FMA(v[j], x[j], sum);
    else
        for (uint32_t j = 0; j < n; j++) sum = K_FMA(v[j], x[j], sum);
    return sum;
}

/* left: elements from i on; blocks never end within 8. */
#define MATVEC(c, elems, cols, guard)                                                              \
    DEVICE_FN void row##cols##_##c(const struct k_matmul *a)                                       \
    {                                                                                              \
        uint32_t lane = threadIdx.x % WARP;                                                        \
        uint32_t row = blockIdx.x * MATVEC_WARPS + threadIdx.x / WARP;                             \
        if (row >= a->n_out) return;                                                               \
        const uint8_t *w = a->w + row * a->row_bytes;                                              \
        float sum[cols], v[8];                                                                     \
        for (uint32_t k = 0; k < cols; k++) sum[k] = 0.0f;                                         \
        for (uint32_t i = lane * 8; i < a->n_in; i += WARP * 8) {                                  \
            uint32_t left = elems == 1 ? a->n_in - i : 8;                                          \
            load8_##c(w, i, a->n_in, v);                                                           \
            for (uint32_t k = 0; k < cols; k++)                                                    \
                if (guard) sum[k] = dot_8(v, a->x + (size_t)k * a->n_in + i, left, sum[k]);        \
        }                                                                                          \
        for (uint32_t k = 0; k < cols; k++) {                                                      \
            if (!(guard)) break;                                                                   \
            float s = k_warp_sum(sum[k]);                                                          \
            if (lane == 0) a->out[(size_t)k * a->n_out + row] = a->bias ? s + a->bias[row] : s;    \
        }                                                                                          \
    }                                                                                              \
    KERNEL_FN(matvec##cols##_##c, matmul) { row##cols##_##c(&a); }

#define MATVEC_ID(c)                                                                               \
    KERNEL_FN(matvec_id_##c, matmul_id)                                                            \
    {                                                                                              \
        struct k_matmul product = k_product_of(&a, blockIdx.y);                                    \
        row1_##c(&product);                                                                        \
    }

#define TYPE(e, id, name, c, elems, bytes, use, act)                                               \
    IF_WEIGHT(use)(MATVEC(c, elems, 1, true))                                                      \
    IF_WEIGHT(use)(MATVEC(c, elems, 8, k < a->n_cols))                                             \
    IF_WEIGHT(use)(MATVEC_ID(c))
#include "spec/types.def"
#undef TYPE
