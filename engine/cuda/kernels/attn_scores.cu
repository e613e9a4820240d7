/* attn_scores: probs (n_tokens, n_heads, n_cells) = scale q k, hidden cells -inf and not read. A
 * thread per score. */
#include "kernel.h"

KERNEL_FN(attn_scores, attention)
{
    uint64_t i = k_flat_index();
    if (i >= (uint64_t)a.n_tokens * a.n_heads * a.n_cells) return;
    uint32_t c = (uint32_t)(i % a.n_cells);
    uint64_t qh = i / a.n_cells; /* head of all tokens */
    uint32_t h = (uint32_t)(qh % a.n_heads), t = (uint32_t)(qh / a.n_heads);
    int32_t at = a.cell_pos[c];
    if (at < 0 || at > a.pos[t]) {
        a.probs[i] = -K_INFINITY;
        return;
    }
    const float *q = a.q + qh * a.head_dim;
    uint64_t k = ((uint64_t)c * a.n_kv_heads + h / (a.n_heads / a.n_kv_heads)) * a.head_dim;
    float s = 0.0f;
    for (uint32_t d = 0; d < a.head_dim; d++) s = K_FMA(q[d], k_load(a.k, a.k_half, k + d), s);
    a.probs[i] = a.scale * s;
}
