/* What the kernels of attention agree on: where things lie, who sees what, what a score is. */
#ifndef CUDA_ATTENTION_H
#define CUDA_ATTENTION_H

#include "cache.h"
#include "functions.h"

/* The first element of a cell's part of a kv head; dim: of a head. */
DEVICE_FN uint64_t attn_at(const struct k_attention *a, uint32_t cell, uint32_t head, uint32_t dim)
{
    return ((uint64_t)cell * a->n_kv_heads + head / (a->n_heads / a->n_kv_heads)) * dim;
}

DEVICE_FN uint32_t attn_sees(const struct k_attention *a, uint32_t token, uint32_t cell)
{
    int32_t at = a->cell_pos[cell];
    return at >= 0 && at >= a->first[token] && at <= a->pos[token];
}

/* Of a query q, which all threads of the block share, with the key at element k. */
DEVICE_FN float attn_score(const struct k_attention *a, const float *q, uint64_t k)
{
    float s = 0.0f, v[8];
    uint32_t d = 0;
    for (; d + 8 <= a->head_dim; d += 8) {
        cache_load8(a->k, a->k_type, k + d, v);
        for (uint32_t j = 0; j < 8; j++) s = K_FMA(q[d + j], v[j], s);
    }
    for (; d < a->head_dim; d++) s = K_FMA(q[d], cache_load1(a->k, a->k_type, k + d), s);
    s *= a->scale;
    return a->softcap != 0.0f ? k_softcap(s, a->softcap) : s;
}

#endif
