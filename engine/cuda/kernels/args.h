/* What kernels are told: one struct per kernel family, passed by value. Shared between the kernels
 * and the host that launches them, so no more than plain C. Pointers are device addresses.
 * Layouts as in engine/backend.h: row-major, the last dimension contiguous. */
#ifndef CUDA_ARGS_H
#define CUDA_ARGS_H

#include <stdint.h>

enum {
    WARP = 32,
    ROW_BLOCK = 256,      /* threads that share a row: rms_norm, softmax, argmax */
    FLAT_BLOCK = 128,     /* threads of a kernel in which each works alone */
    MATVEC_WARPS = 4,     /* rows per block of matvec, a warp each */
    MATVEC_COLS = 8,      /* most columns of matvec */
    FAST_WARPS = 4,       /* of a block of matvec_fast, and the rows that it makes */
    FAST_ROWS = 2,
    TILE_M = 64,          /* matmul: rows of W, columns of x, and depth of a block's tile */
    TILE_N = 64,
    TILE_K = 32,
    TILE_BLOCK = 256,
    MMA_BLOCK = 128,      /* matmul on tensor cores: four warps of 32 x 32 outputs */
    ATTN_MAX_WARPS = 8,
    HEAD_MAX = 256        /* largest head_dim of attention */
};

struct k_get_rows {
    const uint8_t *w;
    const int32_t *ids;
    float *out;           /* (n, n_in) */
    uint64_t row_bytes;
    uint32_t n_in, n;
};

struct k_rms_norm {
    const float *x, *w;
    float *out;
    uint32_t rows, n;
    float eps;
};

/* matvec and matmul */
struct k_matmul {
    const uint8_t *w;
    const float *x;       /* (n_cols, n_in) */
    const float *bias;    /* (n_out) or NULL */
    float *out;           /* (n_cols, n_out) */
    uint64_t row_bytes;
    uint32_t n_in, n_out, n_cols;
};

struct k_rope {
    float *x;             /* (n_tokens, n_heads, head_dim) */
    const float *table;   /* (n_tokens, n_dims / 2, 2) */
    uint32_t n_tokens, n_heads, head_dim, n_dims;
    uint32_t neox;
};

struct k_kv_write {
    const float *src;     /* (n_tokens, row) */
    const int32_t *cells;
    void *cache;          /* (any, row) of f32, or of f16 */
    uint32_t n_tokens, row;
    uint32_t half;
};

struct k_attention {
    const float *q;
    const void *k, *v;    /* f32, or f16 where k_half, v_half */
    const int32_t *pos, *cell_pos;
    float *probs, *out;
    uint32_t n_tokens, n_heads, n_kv_heads, head_dim, n_cells;
    uint32_t k_half, v_half;
    float scale;
};

struct k_softmax {
    const float *x;
    float *out;
    uint32_t rows, n;
};

struct k_argmax {
    const float *x;
    int32_t *out;
    uint32_t rows, n;
};

struct k_unary {
    const float *x;
    float *out;
    uint32_t n;
};

struct k_binary {
    const float *a, *b;
    float *out;
    uint32_t n;
};

struct k_scale {
    const float *x;
    float *out;
    uint32_t n;
    float factor;
};

#endif
