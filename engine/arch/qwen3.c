/* qwen3: qwen2 without biases, and with norms of every head of queries and keys. */
#include "engine/arch/arch.h"

enum status load_qwen3(struct engine_model *m, struct err *e)
{
    TRY(model_load_sizes(m, NORM_RMS, e));
    TRY(model_load_rope(m, ROPE_NEOX, ROPE_TABLES_NONE, e));
    TRY(load_ends(m, e));
    for (int i = 0; i < (int)m->h.n_layers; i++) {
        TRY(load_pre_norms(m, i, e));
        TRY(load_attention(m, i, BIAS_MAYBE, BIAS_MAYBE, e));
        TRY(load_qk_norms(m, i, e));
        TRY(load_ffn_gated(m, i, ACT_SILU, e));
    }
    return ST_OK;
}
