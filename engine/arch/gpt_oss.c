/* gpt-oss: windows in every other layer, YaRN, sinks, and experts with biases and a clamped
 * activation, chosen by their logits. post_attention_norm is the norm before the experts. */
#include "engine/arch/arch.h"

static enum status load_layer(struct engine_model *m, int i, struct err *e)
{
    struct layer_weights *l = &m->layers[i];
    struct tensor_want sinks = {
        .layer = i, .role = "attn_sinks", .n_in = m->h.n_heads, .n_out = 1, .use = TENSOR_VECTOR};
    TRY(load_norm(m, i, "attn_norm", &l->attn_norm, e));
    TRY(load_attention(m, i, BIAS_REQUIRED, BIAS_REQUIRED, e));
    TRY(model_load_tensor(m, &sinks, &l->sinks, e));
    TRY(load_norm(m, i, "post_attention_norm", &l->ffn_norm, e));
    return load_experts(m, i, ACT_SWIGLU_OAI, BIAS_REQUIRED, false, e);
}

enum status load_gpt_oss(struct engine_model *m, struct err *e)
{
    struct hyper *h = &m->h;
    TRY(model_load_sizes(m, NORM_RMS, e));
    TRY(model_load_rope(m, ROPE_NEOX, ROPE_TABLES_NONE, e));
    TRY(model_windowed_base(m, e));
    TRY(model_key_u32(m, "attention.sliding_window", &h->window, e));
    if (h->window == 0) return fail(e, ST_FORMAT, "gpt-oss.attention.sliding_window is 0");
    TRY(model_load_windows(m, 0, 2, e));
    TRY(load_router(m, ROUTE_SOFTMAX_CHOSEN, false, e));
    TRY(model_key_u32(m, "expert_feed_forward_length", &h->n_ff_expert, e));
    TRY(load_ends_apart(m, e));
    for (int i = 0; i < (int)h->n_layers; i++) TRY(load_layer(m, i, e));
    return ST_OK;
}
