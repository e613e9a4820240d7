/* qwen2moe: qwen2 with experts, whose weights are not normalised, and a shared one behind a
 * sigmoid gate. */
#include "engine/arch/arch.h"

static enum status load_layer(struct engine_model *m, int i, struct err *e)
{
    struct tensor_want gate = {
        .layer = i, .role = "ffn_gate_inp_shexp", .n_in = m->h.n_embd, .n_out = 1};
    TRY(load_pre_norms(m, i, e));
    TRY(load_attention(m, i, BIAS_REQUIRED, BIAS_NONE, e));
    TRY(load_experts(m, i, ACT_SILU, BIAS_MAYBE, false, e));
    TRY(load_shared_expert(m, i, e));
    return model_load_linear(m, &gate, &m->layers[i].moe.shared_gate, e);
}

enum status load_qwen2moe(struct engine_model *m, struct err *e)
{
    struct hyper *h = &m->h;
    TRY(model_load_sizes(m, NORM_RMS, e));
    TRY(model_load_rope(m, ROPE_NEOX, ROPE_TABLES_NONE, e));
    TRY(load_router(m, ROUTE_SOFTMAX, false, e));
    TRY(load_expert_length(m, e));
    TRY(model_key_u32_or(m, "expert_shared_feed_forward_length", h->n_ff, &h->n_ff_shared, e));
    TRY(load_ends_apart(m, e));
    for (int i = 0; i < (int)h->n_layers; i++) TRY(load_layer(m, i, e));
    return ST_OK;
}
