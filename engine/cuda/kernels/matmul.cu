/* matmul: out (n_cols, n_out) = W x (+ bias), any number of columns. A block makes a tile of 64
 * rows by 64 columns, 4 x 4 outputs per thread, 32 deep at a time: weights are decoded once per
 * block into shared memory, beside the part of x that meets them. What lies past the end of W or x
 * is 0 in the tile.
 *
 *   16 rows of 4 threads load W: thread = 4 row + k / 8      (the same for x, row = column)
 *   threads compute:             thread = 16 (column / 4) + row / 4
 */
#include "tile.h"

DEVICE_FN void tile_store(const struct k_matmul *a, uint32_t row, uint32_t col,
                          float (*sum)[4])
{
    for (uint32_t j = 0; j < 4 && col + j < a->n_cols; j++)
        for (uint32_t i = 0; i < 4 && row + i < a->n_out; i++)
            a->out[(uint64_t)(col + j) * a->n_out + row + i] =
                a->bias ? sum[j][i] + a->bias[row + i] : sum[j][i];
}

#define MATMUL(c)                                                                                  \
    KERNEL_FN(matmul_##c, matmul)                                                                  \
    {                                                                                              \
        SHARED(float, w, [TILE_K][TILE_M + PAD]);                                                  \
        SHARED(float, x, [TILE_K][TILE_N + PAD]);                                                  \
        uint32_t t = threadIdx.x, line = t / 4, part = t % 4 * 8;                                  \
        uint32_t row = blockIdx.x * TILE_M, col = blockIdx.y * TILE_N;                             \
        uint32_t m = t % 16 * 4, n = t / 16 * 4;                                                   \
        float sum[4][4], v[8];                                                                     \
        for (uint32_t i = 0; i < 16; i++) sum[i / 4][i % 4] = 0.0f;                                \
        for (uint32_t k = 0; k < a.n_in; k += TILE_K) {                                            \
            for (uint32_t i = 0; i < 8; i++) v[i] = 0.0f;                                          \
            if (row + line < a.n_out && k + part < a.n_in)                                         \
                load8_##c(a.w + (row + line) * a.row_bytes, k + part, a.n_in, v);                  \
            for (uint32_t i = 0; i < 8; i++) w[part + i][line] = v[i];                             \
            for (uint32_t i = 0; i < 8; i++) v[i] = 0.0f;                                          \
            if (col + line < a.n_cols)                                                             \
                load8_values(a.x + (uint64_t)(col + line) * a.n_in, k + part, a.n_in, v);          \
            for (uint32_t i = 0; i < 8; i++) x[part + i][line] = v[i];                             \
            __syncthreads();                                                                       \
            tile_multiply(w, x, m, n, sum);                                                        \
            __syncthreads();                                                                       \
        }                                                                                          \
        tile_store(&a, row + m, col + n, sum);                                                     \
    }

#define TYPE(e, id, name, c, elems, bytes, use, act) IF_WEIGHT(use)(MATMUL(c))
#include "spec/types.def"
#undef TYPE
