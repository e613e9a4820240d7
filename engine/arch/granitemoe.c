/* granitemoe: granite with experts, and a shared one in some files. */
#include "engine/arch/arch.h"

enum status load_granitemoe(struct engine_model *m, struct err *e)
{
    struct hyper *h = &m->h;
    TRY(model_load_sizes(m, NORM_RMS, e));
    TRY(model_load_rope(m, ROPE_NORM, ROPE_TABLES_LLAMA, e));
    TRY(load_granite_scales(m, e));
    TRY(load_router(m, ROUTE_SOFTMAX, true, e));
    h->n_ff_expert = h->n_ff;
    TRY(model_key_u32_or(m, "expert_shared_feed_forward_length", 0, &h->n_ff_shared, e));
    TRY(load_ends(m, e));
    for (int i = 0; i < (int)h->n_layers; i++) {
        TRY(load_pre_norms(m, i, e));
        TRY(load_attention(m, i, BIAS_MAYBE, BIAS_MAYBE, e));
        TRY(load_experts(m, i, ACT_SILU, BIAS_MAYBE, false, e));
        if (h->n_ff_shared > 0) TRY(load_shared_expert(m, i, e));
    }
    return ST_OK;
}
