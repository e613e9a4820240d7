/* command-r: LayerNorm without bias, NORM pairing, SwiGLU in parallel with the attention, logits
 * times a factor; the larger one norms queries and keys with weights for each head. */
#include "engine/arch/arch.h"

enum { R_PLUS = 64 }; /* layers of the larger one */

enum status load_command_r(struct engine_model *m, struct err *e)
{
    double logit_scale;
    TRY(model_load_sizes(m, NORM_LAYER, e));
    TRY(model_load_rope(m, ROPE_NORM, ROPE_TABLES_NONE, e));
    TRY(model_key_f64(m, "logit_scale", &logit_scale, e));
    m->h.logit_scale = (float)logit_scale;
    m->h.parallel = true;
    m->h.norm_bias = BIAS_MAYBE;
    TRY(load_ends(m, e));
    for (int i = 0; i < (int)m->h.n_layers; i++) {
        TRY(load_norm(m, i, "attn_norm", &m->layers[i].attn_norm, e));
        TRY(load_attention(m, i, BIAS_MAYBE, BIAS_MAYBE, e));
        TRY(load_qk_norms_by_head(m, i, m->h.n_layers == R_PLUS, e));
        TRY(load_ffn_gated(m, i, ACT_SILU, e));
    }
    return ST_OK;
}
