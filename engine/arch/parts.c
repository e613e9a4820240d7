/* What loaders of architectures are put together from: the parts of a layer. */
#include "engine/arch/arch.h"

#include <math.h>
#include <string.h>

/* ---- norms ----------------------------------------------------------------------------------- */

static enum status load_norm_rows(struct engine_model *m, int layer, const char *role, uint32_t n,
                                  uint32_t rows, struct norm *out, struct err *e)
{
    struct tensor_want w = {.layer = layer,
                            .role = role,
                            .n_in = n,
                            .n_out = rows,
                            .bias = m->h.norm == NORM_RMS ? BIAS_NONE : BIAS_MAYBE};
    return model_load_norm(m, &w, out, e);
}

enum status load_norm(struct engine_model *m, int layer, const char *role, struct norm *out,
                      struct err *e)
{
    struct tensor_want w = {
        .layer = layer, .role = role, .n_in = m->h.n_embd, .n_out = 1, .bias = m->h.norm_bias};
    return model_load_norm(m, &w, out, e);
}

enum status load_pre_norms(struct engine_model *m, int layer, struct err *e)
{
    TRY(load_norm(m, layer, "attn_norm", &m->layers[layer].attn_norm, e));
    return load_norm(m, layer, "ffn_norm", &m->layers[layer].ffn_norm, e);
}

enum status load_post_norms(struct engine_model *m, int layer, struct err *e)
{
    TRY(load_norm(m, layer, "post_attention_norm", &m->layers[layer].attn_post_norm, e));
    return load_norm(m, layer, "post_ffw_norm", &m->layers[layer].ffn_post_norm, e);
}

enum status load_qk_norms(struct engine_model *m, int layer, struct err *e)
{
    const uint32_t n = m->h.head_dim;
    TRY(load_norm_rows(m, layer, "attn_q_norm", n, 1, &m->layers[layer].q_norm, e));
    return load_norm_rows(m, layer, "attn_k_norm", n, 1, &m->layers[layer].k_norm, e);
}

enum status load_qk_norms_by_head(struct engine_model *m, int layer, bool required, struct err *e)
{
    const struct hyper *h = &m->h;
    struct layer_weights *l = &m->layers[layer];
    const bool there =
        model_has_tensor(m, layer, "attn_q_norm") || model_has_tensor(m, layer, "attn_k_norm");
    if (!there && !required) return ST_OK;
    TRY(load_norm_rows(m, layer, "attn_q_norm", h->head_dim, h->n_heads, &l->q_norm, e));
    return load_norm_rows(m, layer, "attn_k_norm", h->head_dim, h->n_kv_heads, &l->k_norm, e);
}

enum status load_qk_norms_of_rows(struct engine_model *m, int layer, struct err *e)
{
    const struct hyper *h = &m->h;
    const uint32_t n_q = h->n_heads * h->head_dim, n_kv = h->n_kv_heads * h->head_dim;
    TRY(load_norm_rows(m, layer, "attn_q_norm", n_q, 1, &m->layers[layer].q_norm, e));
    return load_norm_rows(m, layer, "attn_k_norm", n_kv, 1, &m->layers[layer].k_norm, e);
}

/* ---- attention, feed-forward ----------------------------------------------------------------- */

static enum status load_matrix(struct engine_model *m, int layer, const char *role, uint32_t n_in,
                               uint32_t n_out, enum bias_rule bias, struct linear *out,
                               struct err *e)
{
    struct tensor_want w = {
        .layer = layer, .role = role, .n_in = n_in, .n_out = n_out, .bias = bias};
    return model_load_linear(m, &w, out, e);
}

enum status load_attention(struct engine_model *m, int layer, enum bias_rule qkv,
                           enum bias_rule output, struct err *e)
{
    const struct hyper *h = &m->h;
    if (h->value_dim != h->head_dim)
        return fail(e, ST_UNSUPPORTED,
                    "%s.attention.value_length %u differs from attention.key_length %u: not "
                    "supported",
                    m->arch->name, h->value_dim, h->head_dim);
    TRY(model_load_qkv(m, layer, qkv, e));
    return load_matrix(m, layer, "attn_output", h->n_heads * h->value_dim, h->n_embd, output,
                       &m->layers[layer].attn_output, e);
}

/* Feed-forward length of layers without experts. */
static enum status check_length(const struct engine_model *m, struct err *e)
{
    if (m->h.n_ff > 0) return ST_OK;
    return fail(e, ST_FORMAT, "key %s.feed_forward_length is missing", m->arch->name);
}

static enum status load_swiglu(struct engine_model *m, int layer, const char *const roles[3],
                               uint32_t n_ff, struct ffn *out, struct err *e)
{
    const uint32_t n = m->h.n_embd;
    out->n_ff = n_ff;
    TRY(load_matrix(m, layer, roles[0], n, n_ff, BIAS_MAYBE, &out->gate, e));
    TRY(load_matrix(m, layer, roles[1], n, n_ff, BIAS_MAYBE, &out->up, e));
    return load_matrix(m, layer, roles[2], n_ff, n, BIAS_MAYBE, &out->down, e);
}

enum status load_ffn_gated(struct engine_model *m, int layer, enum activation act, struct err *e)
{
    static const char *const roles[3] = {"ffn_gate", "ffn_up", "ffn_down"};
    m->layers[layer].ffn.act = act;
    TRY(check_length(m, e));
    return load_swiglu(m, layer, roles, m->h.n_ff, &m->layers[layer].ffn, e);
}

enum status load_ffn_fused(struct engine_model *m, int layer, enum activation act, struct err *e)
{
    const struct hyper *h = &m->h;
    struct ffn *f = &m->layers[layer].ffn;
    struct linear *const parts[2] = {&f->gate, &f->up};
    const uint32_t rows[2] = {h->n_ff, h->n_ff};
    struct tensor_want w = {
        .layer = layer, .role = "ffn_up", .n_in = h->n_embd, .n_out = 2 * h->n_ff};
    f->act = act;
    f->n_ff = h->n_ff;
    TRY(check_length(m, e));
    TRY(model_load_fused(m, &w, rows, parts, 2, e));
    return load_matrix(m, layer, "ffn_down", h->n_ff, h->n_embd, BIAS_MAYBE, &f->down, e);
}

enum status load_ffn_plain(struct engine_model *m, int layer, enum bias_rule bias, struct err *e)
{
    const struct hyper *h = &m->h;
    struct ffn *f = &m->layers[layer].ffn;
    f->act = ACT_GELU;
    f->n_ff = h->n_ff;
    TRY(check_length(m, e));
    TRY(load_matrix(m, layer, "ffn_up", h->n_embd, h->n_ff, bias, &f->up, e));
    return load_matrix(m, layer, "ffn_down", h->n_ff, h->n_embd, bias, &f->down, e);
}

/* ---- experts --------------------------------------------------------------------------------- */

enum { MAX_EXPERTS = 1024 }; /* of struct op_route */

enum status load_router(struct engine_model *m, enum route_gating gating, bool normalise,
                        struct err *e)
{
    struct router *r = &m->h.router;
    const char *name = m->arch->name;
    TRY(model_key_u32(m, "expert_count", &r->n_experts, e));
    TRY(model_key_u32(m, "expert_used_count", &r->n_used, e));
    TRY(model_key_u32_or(m, "expert_group_count", 0, &r->n_groups, e));
    TRY(model_key_u32_or(m, "expert_group_used_count", 0, &r->n_groups_used, e));
    if (r->n_experts == 0 || r->n_experts > MAX_EXPERTS)
        return fail(e, ST_UNSUPPORTED, "%s.expert_count is %u, not in [1, %d]", name, r->n_experts,
                    MAX_EXPERTS);
    if (r->n_used == 0 || r->n_used > r->n_experts)
        return fail(e, ST_FORMAT, "%s.expert_used_count is %u of %u experts", name, r->n_used,
                    r->n_experts);
    if (r->n_groups > 1 && (r->n_experts % r->n_groups != 0 || r->n_groups_used == 0 ||
                            r->n_groups_used > r->n_groups ||
                            r->n_used > r->n_experts / r->n_groups * r->n_groups_used))
        return fail(e, ST_FORMAT,
                    "%s.expert_group_count %u and expert_group_used_count %u do not fit %u of %u "
                    "experts",
                    name, r->n_groups, r->n_groups_used, r->n_used, r->n_experts);
    r->gating = gating;
    r->normalise = normalise;
    r->scale = 1.0f;
    return ST_OK;
}

enum status load_expert_length(struct engine_model *m, struct err *e)
{
    struct hyper *h = &m->h;
    TRY(model_key_u32_or(m, "expert_feed_forward_length", 0, &h->n_ff_expert, e));
    if (h->n_ff_expert == 0) h->n_ff_expert = h->n_ff / h->router.n_used;
    if (h->n_ff_expert > 0) return ST_OK;
    return fail(e, ST_FORMAT, "key %s.expert_feed_forward_length is missing", m->arch->name);
}

static enum status load_expert_stacks(struct engine_model *m, int layer, struct tensor_want *w,
                                      bool fused, struct err *e)
{
    const struct hyper *h = &m->h;
    struct moe *x = &m->layers[layer].moe;
    w->n_in = h->n_embd;
    if (fused && model_has_tensor(m, layer, "ffn_gate_up_exps")) {
        w->role = "ffn_gate_up_exps";
        w->n_out = 2 * h->n_ff_expert;
        TRY(model_load_stack(m, w, &x->gate_up, e));
    } else {
        w->role = "ffn_gate_exps";
        w->n_out = h->n_ff_expert;
        TRY(model_load_stack(m, w, &x->gate, e));
        w->role = "ffn_up_exps";
        TRY(model_load_stack(m, w, &x->up, e));
    }
    w->role = "ffn_down_exps";
    w->n_in = h->n_ff_expert;
    w->n_out = h->n_embd;
    return model_load_stack(m, w, &x->down, e);
}

enum status load_experts(struct engine_model *m, int layer, enum activation act,
                         enum bias_rule bias, bool fused, struct err *e)
{
    const struct hyper *h = &m->h;
    struct moe *x = &m->layers[layer].moe;
    struct tensor_want w = {.layer = layer, .n_mats = h->router.n_experts, .bias = bias};
    x->act = act;
    if (h->n_ff_expert == 0 || h->n_ff_expert > INT32_MAX / 2)
        return fail(e, ST_FORMAT, "%s: experts have a feed-forward length of %u", m->arch->name,
                    h->n_ff_expert);
    TRY(load_matrix(m, layer, "ffn_gate_inp", h->n_embd, h->router.n_experts, bias, &x->router, e));
    return load_expert_stacks(m, layer, &w, fused, e);
}

enum status load_shared_expert(struct engine_model *m, int layer, struct err *e)
{
    static const char *const roles[3] = {"ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"};
    m->layers[layer].moe.shared.act = ACT_SILU;
    return load_swiglu(m, layer, roles, m->h.n_ff_shared, &m->layers[layer].moe.shared, e);
}

/* ---- whole layers ---------------------------------------------------------------------------- */

enum status load_layers_mixtral(struct engine_model *m, struct err *e)
{
    uint32_t n_experts;
    TRY(model_key_u32_or(m, "expert_count", 0, &n_experts, e));
    m->h.n_ff_expert = m->h.n_ff;
    if (n_experts > 0) TRY(load_router(m, ROUTE_SOFTMAX, true, e));
    for (int i = 0; i < (int)m->h.n_layers; i++) {
        TRY(load_pre_norms(m, i, e));
        TRY(load_attention(m, i, BIAS_MAYBE, BIAS_MAYBE, e));
        TRY(n_experts > 0 ? load_experts(m, i, ACT_SILU, BIAS_MAYBE, false, e)
                          : load_ffn_gated(m, i, ACT_SILU, e));
    }
    return ST_OK;
}

enum status load_layers_biased(struct engine_model *m, struct err *e)
{
    for (int i = 0; i < (int)m->h.n_layers; i++) {
        TRY(load_pre_norms(m, i, e));
        TRY(load_attention(m, i, BIAS_REQUIRED, BIAS_REQUIRED, e));
        TRY(load_ffn_plain(m, i, BIAS_REQUIRED, e));
    }
    return ST_OK;
}

/* ---- ends ------------------------------------------------------------------------------------ */

enum status load_ends(struct engine_model *m, struct err *e)
{
    const struct hyper *h = &m->h;
    struct tensor_want w = {
        .layer = NO_LAYER, .role = "token_embd", .n_in = h->n_embd, .n_out = h->n_vocab};
    TRY(model_load_tensor(m, &w, &m->token_embd, e));
    w.role = "output";
    w.optional = true;
    TRY(model_load_linear(m, &w, &m->output, e));
    if (!m->output.w) {
        struct tensor_want bias = {.layer = NO_LAYER,
                                   .role = "output",
                                   .n_in = h->n_vocab,
                                   .n_out = 1,
                                   .use = TENSOR_VECTOR,
                                   .optional = true,
                                   .suffix = "bias"};
        m->output.w = m->token_embd;
        TRY(model_load_tensor(m, &bias, &m->output.bias, e));
    }
    return load_norm(m, NO_LAYER, "output_norm", &m->output_norm, e);
}

enum status load_ends_apart(struct engine_model *m, struct err *e)
{
    if (!model_has_tensor(m, NO_LAYER, "output"))
        return fail(e, ST_FORMAT, "tensor output.weight is missing");
    return load_ends(m, e);
}

/* ---- gemma ----------------------------------------------------------------------------------- */

void part_gemma_scales(struct engine_model *m, uint32_t layers_27b)
{
    struct hyper *h = &m->h;
    const double n_embd = h->n_embd, n_heads = h->n_heads;
    h->embd_scale = sqrtf((float)n_embd);
    if (h->n_layers == layers_27b) h->attn_scale = (float)(1.0 / sqrt(n_embd / n_heads));
}

/* ---- granite --------------------------------------------------------------------------------- */

/* A factor that counts unless it is missing or 0. */
static enum status load_factor(struct engine_model *m, const char *key, float *out, struct err *e)
{
    double v;
    TRY(model_key_f64_or(m, key, 0.0, &v, e));
    if (v != 0.0) *out = (float)v;
    return ST_OK;
}

enum status load_granite_scales(struct engine_model *m, struct err *e)
{
    struct hyper *h = &m->h;
    double logit_scale;
    bool rotates;
    TRY(model_key_f64(m, "logit_scale", &logit_scale, e));
    if (logit_scale == 0.0) return fail(e, ST_FORMAT, "%s.logit_scale is 0", m->arch->name);
    h->logit_scale = (float)(1.0 / logit_scale);
    TRY(load_factor(m, "residual_scale", &h->residual_scale, e));
    TRY(load_factor(m, "embedding_scale", &h->embd_scale, e));
    TRY(load_factor(m, "attention.scale", &h->attn_scale, e));
    TRY(model_key_bool_or(m, "rope.scaling.finetuned", true, &rotates, e));
    if (!rotates) h->rope.n_dims = 0;
    return ST_OK;
}
