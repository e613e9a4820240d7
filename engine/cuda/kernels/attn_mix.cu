/* attn_mix: out (n_tokens, n_heads, head_dim) = probs v over the visible cells; what hidden cells
 * hold, and their probabilities, are not read. A thread per output. */
#include "kernel.h"

KERNEL_FN(attn_mix, attention)
{
    uint64_t i = k_flat_index();
    if (i >= (uint64_t)a.n_tokens * a.n_heads * a.head_dim) return;
    uint32_t d = (uint32_t)(i % a.head_dim);
    uint64_t qh = i / a.head_dim;
    uint32_t h = (uint32_t)(qh % a.n_heads);
    int32_t pos = a.pos[qh / a.n_heads];
    const float *p = a.probs + qh * a.n_cells;
    uint64_t v = (uint64_t)(h / (a.n_heads / a.n_kv_heads)) * a.head_dim + d;
    uint64_t stride = (uint64_t)a.n_kv_heads * a.head_dim;
    float s = 0.0f;
    for (uint32_t c = 0; c < a.n_cells; c++, v += stride) {
        int32_t at = a.cell_pos[c];
        if (at >= 0 && at <= pos) s = K_FMA(p[c], k_load(a.v, a.v_half, v), s);
    }
    a.out[i] = s;
}
