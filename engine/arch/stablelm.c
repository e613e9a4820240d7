/* stablelm: LayerNorm, partial rotation, SwiGLU. A file without ffn_norm is a parallel one; some
 * have norms of queries and keys with weights for each head. */
#include "engine/arch/arch.h"

enum status load_stablelm(struct engine_model *m, struct err *e)
{
    TRY(model_load_sizes(m, NORM_LAYER, e));
    TRY(model_load_rope(m, ROPE_NEOX, ROPE_TABLES_NONE, e));
    TRY(load_ends(m, e));
    m->h.parallel = !model_has_tensor(m, 0, "ffn_norm");
    for (int i = 0; i < (int)m->h.n_layers; i++) {
        TRY(load_norm(m, i, "attn_norm", &m->layers[i].attn_norm, e));
        if (!m->h.parallel) TRY(load_norm(m, i, "ffn_norm", &m->layers[i].ffn_norm, e));
        TRY(load_attention(m, i, BIAS_MAYBE, BIAS_MAYBE, e));
        TRY(load_qk_norms_by_head(m, i, false, e));
        TRY(load_ffn_gated(m, i, ACT_SILU, e));
    }
    return ST_OK;
}
