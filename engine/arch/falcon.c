/* falcon: LayerNorm, plain GELU, attention and feed-forward in parallel; the larger ones have a
 * norm of its own, attn_norm_2, for the attention. */
#include "engine/arch/arch.h"

static enum status load_norms(struct engine_model *m, int i, struct err *e)
{
    struct layer_weights *l = &m->layers[i];
    if (!model_has_tensor(m, i, "attn_norm_2"))
        return load_norm(m, i, "attn_norm", &l->attn_norm, e);
    TRY(load_norm(m, i, "attn_norm_2", &l->attn_norm, e));
    return load_norm(m, i, "attn_norm", &l->ffn_norm, e);
}

enum status load_falcon(struct engine_model *m, struct err *e)
{
    TRY(model_load_sizes(m, NORM_LAYER, e));
    TRY(model_load_rope(m, ROPE_NEOX, ROPE_TABLES_NONE, e));
    TRY(model_rope_whole(m, e));
    TRY(load_ends(m, e));
    m->h.parallel = true;
    for (int i = 0; i < (int)m->h.n_layers; i++) {
        TRY(load_norms(m, i, e));
        TRY(load_attention(m, i, BIAS_MAYBE, BIAS_MAYBE, e));
        TRY(load_ffn_plain(m, i, BIAS_MAYBE, e));
    }
    return ST_OK;
}
