/* qwen3moe: qwen3 with experts, whose weights are normalised. */
#include "engine/arch/arch.h"

enum status load_qwen3moe(struct engine_model *m, struct err *e)
{
    TRY(model_load_sizes(m, NORM_RMS, e));
    TRY(model_load_rope(m, ROPE_NEOX, ROPE_TABLES_NONE, e));
    TRY(load_router(m, ROUTE_SOFTMAX, true, e));
    TRY(load_expert_length(m, e));
    TRY(load_ends(m, e));
    for (int i = 0; i < (int)m->h.n_layers; i++) {
        TRY(load_pre_norms(m, i, e));
        TRY(load_attention(m, i, BIAS_MAYBE, BIAS_MAYBE, e));
        TRY(load_qk_norms(m, i, e));
        TRY(load_experts(m, i, ACT_SILU, BIAS_MAYBE, false, e));
    }
    return ST_OK;
}
