/* attn_mix: out (n_tokens, n_heads, value_dim) = probs v over the visible cells; what hidden cells
 * hold, and their probabilities, are not read. A thread per output. */
#include "attention.h"

KERNEL_FN(attn_mix, attention)
{
    uint64_t i = k_flat_index();
    if (i >= (uint64_t)a.n_tokens * a.n_heads * a.value_dim) return;
    uint32_t d = (uint32_t)(i % a.value_dim);
    uint64_t qh = i / a.value_dim;
    uint32_t h = (uint32_t)(qh % a.n_heads), t = (uint32_t)(qh / a.n_heads);
    const float *p = a.probs + qh * a.n_cells;
    float s = 0.0f;
    for (uint32_t c = 0; c < a.n_cells; c++)
        if (attn_sees(&a, t, c))
            s = K_FMA(p[c], cache_load1(a.v, a.v_type, attn_at(&a, c, h, a.value_dim) + d), s);
    a.out[i] = s;
}
