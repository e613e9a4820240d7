/* phi2: LayerNorm, partial rotation, biases everywhere, plain GELU; attention and feed-forward
 * both read the one norm. */
#include "engine/arch/arch.h"

enum status load_phi2(struct engine_model *m, struct err *e)
{
    TRY(model_load_sizes(m, NORM_LAYER, e));
    TRY(model_load_rope(m, ROPE_NEOX, ROPE_TABLES_NONE, e));
    TRY(load_ends(m, e));
    if (!m->output.bias) return fail(e, ST_FORMAT, "tensor output.bias is missing");
    m->h.parallel = true;
    for (int i = 0; i < (int)m->h.n_layers; i++) {
        TRY(load_norm(m, i, "attn_norm", &m->layers[i].attn_norm, e));
        TRY(load_attention(m, i, BIAS_REQUIRED, BIAS_REQUIRED, e));
        TRY(load_ffn_plain(m, i, BIAS_REQUIRED, e));
    }
    return ST_OK;
}
