/* matmul on tensor cores, for weights that TF32 holds exactly: the accuracy of f32 at the speed of
 * matrix instructions. x is split into three TF32 numbers, which hold its 24 bits exactly (11 + 11 +
 * 2), so every product is exact and sums are made in f32; nothing is rounded to a narrower format.
 * The instruction truncates where it adds, which is a bias in long sums: it adds up 32 deep only, and
 * those parts are added by ordinary additions.
 * What differs from matmul.cu: the order of additions, and that an infinite weight can give NaN
 * where x's lower parts are 0.
 *
 * A block of four warps makes 64 rows by 64 columns, 32 deep at a time; a warp makes 32 x 32 of it as
 * 2 x 4 tiles of the instruction m16n8k8. On paper (H100: 495 dense TF32 TFLOPS, a third of it
 * here): 165 TFLOPS; 512 tokens of an 8B model (2 * 8e9 * 512 = 8.2e12 operations) take 50 ms at
 * best. Not measured yet. */
#include "load.h"

#define PAD 4 /* floats: lanes of a fragment, 4 apart in rows of 36, find banks of their own */

struct mma_parts {
    uint32_t b[3][2]; /* fragment of x: high, middle, low */
};

/* x = high + middle + low exactly, each with at most 11 significant bits. */
DEVICE_FN void split(float x, uint32_t i, struct mma_parts *p)
{
    const uint32_t keep = 0xffffe000u;
    uint32_t u = __float_as_uint(x), high = u & keep;
    float rest = x - __uint_as_float(high);
    uint32_t middle = __float_as_uint(rest) & keep;
    uint32_t low = __float_as_uint(rest - __uint_as_float(middle));
    if ((u & 0x7f800000u) == 0x7f800000u) { /* infinite, or NaN, whose bits may lie below */
        high = u & 0x7fffffu ? 0x7fffe000u : u;
        middle = low = 0;
    }
    p->b[0][i] = high;
    p->b[1][i] = middle;
    p->b[2][i] = low;
}

/* sum[m][n] += 16 rows from w + 16 m by 8 columns from x + 8 n, 8 deep from k. */
DEVICE_FN void mma_step(float (*w)[TILE_K + PAD], float (*x)[TILE_K + PAD], uint32_t k,
                        float (*sum)[4][4])
{
    uint32_t lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    uint32_t a[2][4];
    for (uint32_t m = 0; m < 2; m++) {
        a[m][0] = __float_as_uint(w[16 * m + g][k + t]);
        a[m][1] = __float_as_uint(w[16 * m + g + 8][k + t]);
        a[m][2] = __float_as_uint(w[16 * m + g][k + t + 4]);
        a[m][3] = __float_as_uint(w[16 * m + g + 8][k + t + 4]);
    }
    for (uint32_t n = 0; n < 4; n++) {
        struct mma_parts p;
        split(x[8 * n + g][k + t], 0, &p);
        split(x[8 * n + g][k + t + 4], 1, &p);
        for (uint32_t m = 0; m < 2; m++)
            for (uint32_t i = 3; i-- > 0;) k_mma(sum[m][n], a[m], p.b[i]);
    }
}

/* Lane 4 g + t holds rows g and g + 8 of columns 2 t and 2 t + 1 of a tile. */
DEVICE_FN void mma_store(const struct k_matmul *a, uint32_t row, uint32_t col, const float *sum)
{
    uint32_t lane = threadIdx.x % WARP;
    for (uint32_t m = 0; m < 2; m++)
        for (uint32_t n = 0; n < 4; n++)
            for (uint32_t i = 0; i < 4; i++) {
                uint32_t r = row + 16 * m + lane / 4 + i / 2 * 8;
                uint32_t c = col + 8 * n + lane % 4 * 2 + i % 2;
                if (r >= a->n_out || c >= a->n_cols) continue;
                float s = sum[16 * m + 4 * n + i];
                a->out[(uint64_t)c * a->n_out + r] = a->bias ? s + a->bias[r] : s;
            }
}

/* Two threads load a row of W and a column of x, 16 values each. */
#define MATMUL_MMA(c)                                                                              \
    KERNEL_FN(matmul_mma_##c, matmul)                                                              \
    {                                                                                              \
        SHARED(float, w, [TILE_M][TILE_K + PAD]);                                                  \
        SHARED(float, x, [TILE_N][TILE_K + PAD]);                                                  \
        uint32_t line = threadIdx.x / 2, warp = threadIdx.x / WARP;                                \
        uint32_t row = blockIdx.x * TILE_M, col = blockIdx.y * TILE_N;                             \
        uint32_t m = warp % 2 * 32, n = warp / 2 * 32;                                             \
        float sum[32], part[2][4][4], v[8];                                                        \
        for (uint32_t i = 0; i < 32; i++) sum[i] = 0.0f;                                           \
        for (uint32_t k = 0; k < a.n_in; k += TILE_K) {                                            \
            for (uint32_t at = threadIdx.x % 2 * 16, end = at + 16; at < end; at += 8) {           \
                for (uint32_t i = 0; i < 8; i++) v[i] = 0.0f;                                      \
                if (row + line < a.n_out && k + at < a.n_in)                                       \
                    load8_##c(a.w + (row + line) * a.row_bytes, k + at, a.n_in, v);                \
                for (uint32_t i = 0; i < 8; i++) w[line][at + i] = v[i];                           \
                for (uint32_t i = 0; i < 8; i++) v[i] = 0.0f;                                      \
                if (col + line < a.n_cols)                                                         \
                    load8_values(a.x + (uint64_t)(col + line) * a.n_in, k + at, a.n_in, v);        \
                for (uint32_t i = 0; i < 8; i++) x[line][at + i] = v[i];                           \
            }                                                                                      \
            __syncthreads();                                                                       \
            for (uint32_t i = 0; i < 32; i++) part[i / 16][i / 4 % 4][i % 4] = 0.0f;               \
            for (uint32_t s = 0; s < TILE_K; s += 8) mma_step(w + m, x + n, s, part);              \
            for (uint32_t i = 0; i < 32; i++) sum[i] += part[i / 16][i / 4 % 4][i % 4];            \
            __syncthreads();                                                                       \
        }                                                                                          \
        mma_store(&a, row + m, col + n, sum);                                                      \
    }

#define MMA(e, c) MATMUL_MMA(c)
#include "mma.def"
#undef MMA
