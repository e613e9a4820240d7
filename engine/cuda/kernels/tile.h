/* A tile of a product in shared memory, as matmul.cu describes it, and the part of it that a thread
 * makes. */
#ifndef CUDA_TILE_H
#define CUDA_TILE_H

#include "load.h"

#define PAD 4 /* floats per tile row: keeps rows 16-byte aligned and off each other's banks */

DEVICE_FN void tile_multiply(float (*w)[TILE_M + PAD], float (*x)[TILE_N + PAD], uint32_t m,
                             uint32_t n, float (*sum)[4])
{
    for (uint32_t k = 0; k < TILE_K; k++)
        for (uint32_t j = 0; j < 4; j++)
            for (uint32_t i = 0; i < 4; i++) sum[j][i] = K_FMA(w[k][m + i], x[k][n + j], sum[j][i]);
}

#endif
