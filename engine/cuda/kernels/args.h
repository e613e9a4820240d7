/* What kernels are told: one struct per kernel family, passed by value. Shared between the kernels
 * and the host that launches them, so no more than plain C. Pointers are device addresses.
 * Fields and layouts are those of reference/spec/args.def, which engine/cuda/plan.c checks. */
#ifndef CUDA_ARGS_H
#define CUDA_ARGS_H

#include <stdint.h>

enum {
    WARP = 32,
    ROW_BLOCK = 256,      /* threads that share a row: norms, softmax, argmax, route */
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
    ATTN_SLICE = 256,     /* dimensions of a value that a block of attention makes */
    ATTN_WIDE = 512,      /* the same of attention_wide */
    MAX_EXPERTS = 1024,
    GATE_SOFTMAX = 1,     /* enum route_gating */
    GATE_SIGMOID = 2,
    GATE_CHOSEN = 3
};

struct k_get_rows {
    const uint8_t *w;
    const int32_t *ids;
    float *out;           /* (n, n_in) */
    uint64_t row_bytes;
    uint32_t n_in, n;
};

struct k_norm {
    const float *x;
    const float *w, *b;   /* (w_rows, n); b may be NULL */
    float *out;
    uint32_t rows, n, w_rows;
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

struct k_matmul_id {
    const uint8_t *w;     /* (n_experts, n_out, n_in) */
    const float *x;       /* (n_pairs / x_pairs, n_in) */
    const int32_t *ids;   /* (n_pairs): a token and one of its slots */
    const float *bias;    /* (n_experts, n_out) or NULL */
    float *out;           /* (n_pairs, n_out) */
    uint64_t row_bytes;
    uint32_t n_in, n_out, n_pairs;
    uint32_t x_pairs;     /* pairs that share a row of x */
};

struct k_rope {
    float *x;             /* (n_tokens, n_heads, head_dim) */
    const float *table;   /* (n_tokens, n_dims / 2, 2) */
    uint32_t n_tokens, n_heads, head_dim, first, n_dims;
    uint32_t neox;
};

struct k_kv_write {
    const float *src;     /* (n_tokens, row) */
    const int32_t *cells;
    uint8_t *cache;       /* (any, row) of the kernel's type */
    uint32_t n_tokens, row;
};

struct k_attention {
    const float *q;       /* (n_tokens, n_heads, head_dim) */
    const uint8_t *k, *v; /* (n_cells, n_kv_heads, head_dim or value_dim) of k_type, v_type */
    const int32_t *pos, *first, *cell_pos;
    const float *sinks;   /* (n_heads) or NULL */
    float *probs, *out;
    uint32_t n_tokens, n_heads, n_kv_heads, head_dim, value_dim, n_cells;
    uint32_t k_type, v_type; /* enum tensor_type, a row of cache.def */
    float scale, softcap;
};

struct k_softmax {
    const float *x;
    const float *sinks;   /* (n_sinks) or NULL */
    float *out;
    uint32_t rows, n, n_sinks;
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

struct k_scale_rows {
    const float *x, *factors;
    float *out;
    uint32_t rows, n;
};

struct k_copy {
    const float *x;
    float *out;
    uint32_t rows, groups, n;
    uint32_t x_row, x_group, out_row, out_group;
};

struct k_route {
    const float *logits;  /* (n_tokens, n_experts) */
    const float *bias;    /* (n_experts) or NULL */
    int32_t *ids;         /* (n_tokens, n_used) */
    float *weights;
    uint32_t n_tokens, n_experts, n_used, n_groups, n_groups_used;
    uint32_t gating;      /* enum route_gating */
    uint32_t normalise;
    float scale;
};

struct k_moe_sum {
    const float *x;       /* (n_tokens, n_used, n) */
    const float *weights; /* (n_tokens, n_used) */
    float *out;
    uint32_t n_tokens, n_used, n;
};

#endif
