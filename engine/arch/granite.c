/* granite: llama with factors on embeddings, scores, results and logits. */
#include "engine/arch/arch.h"

enum status load_granite(struct engine_model *m, struct err *e)
{
    TRY(model_load_sizes(m, NORM_RMS, e));
    TRY(model_load_rope(m, ROPE_NORM, ROPE_TABLES_LLAMA, e));
    TRY(load_granite_scales(m, e));
    TRY(load_ends(m, e));
    for (int i = 0; i < (int)m->h.n_layers; i++) {
        TRY(load_pre_norms(m, i, e));
        TRY(load_attention(m, i, BIAS_MAYBE, BIAS_MAYBE, e));
        TRY(load_ffn_gated(m, i, ACT_SILU, e));
    }
    return ST_OK;
}
