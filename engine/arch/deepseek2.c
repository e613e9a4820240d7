/* deepseek2 (V2, V3, R1 and the lite ones): attention over latent vectors, a few SwiGLU layers,
 * then experts with a shared one. */
#include "engine/arch/arch.h"

#include <math.h>

/* Where the file has the projections into heads apart, attention runs over the latents: one head
 * of keys [latent | rotated], values = latent. */
static enum status load_head_sizes(struct engine_model *m, struct err *e)
{
    struct hyper *h = &m->h;
    TRY(model_key_u32(m, "attention.kv_lora_rank", &h->mla.n_latent, e));
    TRY(model_key_u32_or(m, "attention.q_lora_rank", 0, &h->mla.n_query, e));
    TRY(model_key_u32_or(m, "attention.key_length_mla", h->head_dim, &h->mla.key_dim, e));
    TRY(model_key_u32_or(m, "attention.value_length_mla", h->value_dim, &h->mla.value_dim, e));
    const uint32_t limit = INT32_MAX / h->n_heads;
    if (h->mla.n_latent == 0 || h->mla.n_latent > limit || h->mla.key_dim > limit ||
        h->mla.value_dim == 0 || h->mla.value_dim > limit || h->mla.n_query > INT32_MAX)
        return fail(e, ST_FORMAT,
                    "deepseek2.attention: kv_lora_rank %u, q_lora_rank %u, heads of %u and %u "
                    "dimensions",
                    h->mla.n_latent, h->mla.n_query, h->mla.key_dim, h->mla.value_dim);
    if (h->rope.n_dims >= h->mla.key_dim)
        return fail(e, ST_FORMAT,
                    "deepseek2.rope.dimension_count %u leaves nothing of heads of %u dimensions",
                    h->rope.n_dims, h->mla.key_dim);
    bool over_latents = model_has_tensor(m, 0, "attn_k_b");
    uint32_t n_kv = over_latents ? 1 : h->n_heads;
    uint32_t key = over_latents ? h->mla.n_latent + h->rope.n_dims : h->mla.key_dim;
    uint32_t value = over_latents ? h->mla.n_latent : h->mla.value_dim;
    if (h->n_kv_heads != n_kv || h->head_dim != key || h->value_dim != value)
        return fail(e, ST_FORMAT,
                    "deepseek2.attention: head_count_kv %u, key_length %u, value_length %u, not "
                    "%u, %u and %u",
                    h->n_kv_heads, h->head_dim, h->value_dim, n_kv, key, value);
    return ST_OK;
}

/* YaRN's magnitude goes into the scale of scores, by the multiplier that the file gives. */
static enum status load_scale(struct engine_model *m, struct err *e)
{
    struct rope_params *r = &m->h.rope;
    const double growth = log(1.0 / r->freq_scale);
    double multiplier;
    TRY(model_key_f64_or(m, "rope.scaling.yarn_log_multiplier", 0.0, &multiplier, e));
    double scale = 1.0;
    if (r->ext_factor != 0.0 && multiplier != 0.0) {
        r->magnitude /= 1.0 + 0.1 * growth;
        scale = 1.0 + multiplier * growth;
    }
    scale *= r->magnitude;
    m->h.attn_scale = (float)(scale * scale / sqrt((double)m->h.mla.key_dim));
    return ST_OK;
}

static enum status load_gating(struct engine_model *m, struct err *e)
{
    uint32_t gating;
    double scale;
    bool normalise;
    TRY(model_key_u32_or(m, "expert_gating_func", 0, &gating, e));
    TRY(model_key_bool_or(m, "expert_weights_norm", false, &normalise, e));
    TRY(model_key_f64_or(m, "expert_weights_scale", 0.0, &scale, e));
    if (gating == 0) gating = ROUTE_SOFTMAX;
    if (gating > ROUTE_SOFTMAX_CHOSEN)
        return fail(e, ST_UNSUPPORTED, "deepseek2.expert_gating_func is %u, not in [0, 3]", gating);
    TRY(load_router(m, (enum route_gating)gating, normalise, e));
    if (scale != 0.0) m->h.router.scale = (float)scale;
    return ST_OK;
}

static enum status load_expert_keys(struct engine_model *m, struct err *e)
{
    struct hyper *h = &m->h;
    uint32_t n_shared;
    TRY(load_gating(m, e));
    TRY(model_key_u32(m, "expert_feed_forward_length", &h->n_ff_expert, e));
    TRY(model_key_u32_or(m, "expert_shared_count", 0, &n_shared, e));
    if (n_shared > 0 && h->n_ff_expert > INT32_MAX / n_shared)
        return fail(e, ST_FORMAT, "deepseek2.expert_shared_count is %u", n_shared);
    h->n_ff_shared = h->n_ff_expert * n_shared;
    return ST_OK;
}

static enum status load_projections(struct engine_model *m, int i, struct err *e)
{
    const struct hyper *h = &m->h;
    struct layer_weights *l = &m->layers[i];
    struct tensor_want w = {
        .layer = i, .role = "attn_q", .n_in = h->n_embd, .n_out = h->n_heads * h->mla.key_dim};
    struct tensor_want norm = {.layer = i, .n_in = h->mla.n_latent, .n_out = 1, .bias = BIAS_NONE};
    if (model_has_tensor(m, i, "attn_q")) {
        TRY(model_load_linear(m, &w, &l->q, e));
    } else {
        struct tensor_want a = w;
        a.role = "attn_q_a";
        a.n_out = w.n_in = h->mla.n_query;
        w.role = "attn_q_b";
        norm.role = "attn_q_a_norm";
        norm.n_in = h->mla.n_query;
        TRY(model_load_linear(m, &a, &l->mla.q_a, e));
        TRY(model_load_norm(m, &norm, &l->mla.q_a_norm, e));
        TRY(model_load_linear(m, &w, &l->mla.q_b, e));
    }
    w.role = "attn_kv_a_mqa";
    w.n_in = h->n_embd;
    w.n_out = h->mla.n_latent + h->rope.n_dims;
    norm.role = "attn_kv_a_norm";
    norm.n_in = h->mla.n_latent;
    TRY(model_load_linear(m, &w, &l->mla.kv_a, e));
    return model_load_norm(m, &norm, &l->mla.kv_a_norm, e);
}

static enum status load_heads(struct engine_model *m, int i, struct err *e)
{
    const struct hyper *h = &m->h;
    struct layer_weights *l = &m->layers[i];
    const uint32_t plain = h->mla.key_dim - h->rope.n_dims;
    struct tensor_want w = {.layer = i, .n_mats = h->n_heads, .bias = BIAS_NONE};
    if (h->n_kv_heads == 1 && model_has_tensor(m, i, "attn_k_b")) {
        w.role = "attn_k_b";
        w.n_in = plain;
        w.n_out = h->mla.n_latent;
        TRY(model_load_stack(m, &w, &l->mla.k_b, e));
        w.role = "attn_v_b";
        w.n_in = h->mla.n_latent;
        w.n_out = h->mla.value_dim;
        TRY(model_load_stack(m, &w, &l->mla.v_b, e));
    } else {
        w.role = "attn_kv_b";
        w.n_mats = 1;
        w.n_in = h->mla.n_latent;
        w.n_out = h->n_heads * (plain + h->mla.value_dim);
        TRY(model_load_linear(m, &w, &l->mla.kv_b, e));
    }
    w = (struct tensor_want){.layer = i,
                             .role = "attn_output",
                             .n_in = h->n_heads * h->mla.value_dim,
                             .n_out = h->n_embd};
    return model_load_linear(m, &w, &l->attn_output, e);
}

static enum status load_layer_experts(struct engine_model *m, int i, struct err *e)
{
    struct tensor_want bias = {.layer = i,
                               .role = "exp_probs_b",
                               .n_in = m->h.router.n_experts,
                               .n_out = 1,
                               .use = TENSOR_VECTOR,
                               .optional = true,
                               .suffix = "bias"};
    TRY(load_experts(m, i, ACT_SILU, BIAS_MAYBE, true, e));
    TRY(model_load_tensor(m, &bias, &m->layers[i].moe.select_bias, e));
    return m->h.n_ff_shared > 0 ? load_shared_expert(m, i, e) : ST_OK;
}

enum status load_deepseek2(struct engine_model *m, struct err *e)
{
    struct hyper *h = &m->h;
    uint32_t n_dense;
    TRY(model_load_sizes(m, NORM_RMS, e));
    TRY(model_load_rope(m, ROPE_NORM, ROPE_TABLES_NONE, e));
    TRY(load_head_sizes(m, e));
    TRY(load_scale(m, e));
    TRY(model_key_u32_or(m, "leading_dense_block_count", 0, &n_dense, e));
    if (n_dense < h->n_layers) TRY(load_expert_keys(m, e));
    TRY(load_ends(m, e));
    for (int i = 0; i < (int)h->n_layers; i++) {
        TRY(load_pre_norms(m, i, e));
        TRY(load_projections(m, i, e));
        TRY(load_heads(m, i, e));
        TRY((uint32_t)i < n_dense ? load_ffn_gated(m, i, ACT_SILU, e)
                                  : load_layer_experts(m, i, e));
    }
    return ST_OK;
}
