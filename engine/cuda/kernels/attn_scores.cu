/* attn_scores: probs (n_tokens, n_heads, n_cells) = scores, hidden cells -inf and not read. A thread
 * per score. */
#include "attention.h"

KERNEL_FN(attn_scores, attention)
{
    uint64_t i = k_flat_index();
    if (i >= (uint64_t)a.n_tokens * a.n_heads * a.n_cells) return;
    uint32_t c = (uint32_t)(i % a.n_cells);
    uint64_t qh = i / a.n_cells; /* head of all tokens */
    uint32_t h = (uint32_t)(qh % a.n_heads), t = (uint32_t)(qh / a.n_heads);
    a.probs[i] = attn_sees(&a, t, c)
                     ? attn_score(&a, a.q + qh * a.head_dim, attn_at(&a, c, h, a.head_dim))
                     : -K_INFINITY;
}
