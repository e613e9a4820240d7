/* llama: LLaMA 1-3, Mistral 7B and the many models converted to the same form. RMSNorm, NORM
 * pairing, SwiGLU, residual form A; biases where the file has them. */
#include "arch.h"

#include <math.h>

static enum status load_layer(struct engine_model *m, int i, struct err *e)
{
    const struct hyper *h = &m->h;
    struct layer_weights *l = &m->layers[i];
    const uint32_t n_q = h->n_heads * h->head_dim;
    TRY(model_load_tensor(m,
                          &(struct tensor_want){i, "attn_norm", h->n_embd, 1, TENSOR_VECTOR, false},
                          &l->attn_norm, e));
    TRY(model_load_qkv(m, (uint32_t)i, e));
    TRY(model_load_linear(
        m,
        &(struct tensor_want){.layer = i, .role = "attn_output", .n_in = n_q, .n_out = h->n_embd},
        &l->attn_output, e));
    TRY(model_load_tensor(m,
                          &(struct tensor_want){i, "ffn_norm", h->n_embd, 1, TENSOR_VECTOR, false},
                          &l->ffn_norm, e));
    TRY(model_load_linear(
        m,
        &(struct tensor_want){.layer = i, .role = "ffn_gate", .n_in = h->n_embd, .n_out = h->n_ff},
        &l->gate, e));
    TRY(model_load_linear(
        m, &(struct tensor_want){.layer = i, .role = "ffn_up", .n_in = h->n_embd, .n_out = h->n_ff},
        &l->up, e));
    return model_load_linear(
        m,
        &(struct tensor_want){.layer = i, .role = "ffn_down", .n_in = h->n_ff, .n_out = h->n_embd},
        &l->down, e);
}

enum status load_llama(struct engine_model *m, struct err *e)
{
    uint32_t n_experts;
    TRY(model_key_u32_or(m, "expert_count", 0, &n_experts, e));
    if (n_experts > 0)
        return fail(e, ST_UNSUPPORTED,
                    "llama.expert_count is %u: mixtures of experts are not "
                    "supported",
                    n_experts);
    TRY(model_load_sizes(m, e));
    double eps;
    TRY(model_key_f64(m, "attention.layer_norm_rms_epsilon", &eps, e));
    m->h.norm_eps = (float)eps;
    m->h.attn_scale = (float)(1.0 / sqrt((double)m->h.head_dim));
    TRY(model_load_rope(m, ROPE_NORM, e));
    if (m->h.rope.n_dims != m->h.head_dim)
        return fail(e, ST_FORMAT, "llama.rope.dimension_count is %u, but heads have %u dimensions",
                    m->h.rope.n_dims, m->h.head_dim);
    TRY(model_load_ends(m, e));
    for (uint32_t i = 0; i < m->h.n_layers; i++) TRY(load_layer(m, (int)i, e));
    return ST_OK;
}

enum status forward_llama(struct pass *p, struct err *e)
{
    const struct hyper *h = &p->model->h;
    const struct scratch *at = &p->at;
    TRY(pass_embed(p, e));
    TRY(pass_probe(p, SITE_EMBD, 0, at->x, h->n_embd, e));

    for (uint32_t i = 0; i < h->n_layers; i++) {
        const struct layer_weights *l = &p->model->layers[i];

        TRY(pass_rms_norm(p, l->attn_norm, at->x, at->norm, p->n_tokens, e));
        TRY(pass_probe(p, SITE_ATTN_NORM, i, at->norm, h->n_embd, e));
        TRY(pass_qkv(p, i, at->norm, e));
        TRY(pass_rope(p, i, e));
        TRY(pass_attention(p, i, e));
        TRY(pass_linear(p, &l->attn_output, at->attn, at->proj, p->n_tokens, e));
        TRY(pass_probe(p, SITE_ATTN_OUT, i, at->proj, h->n_embd, e));
        TRY(pass_add(p, at->x, at->proj, e));
        TRY(pass_probe(p, SITE_RESID_1, i, at->x, h->n_embd, e));

        TRY(pass_rms_norm(p, l->ffn_norm, at->x, at->norm, p->n_tokens, e));
        TRY(pass_probe(p, SITE_FFN_NORM, i, at->norm, h->n_embd, e));
        TRY(pass_ffn_swiglu(p, i, at->norm, at->proj, e));
        TRY(pass_probe(p, SITE_FFN_OUT, i, at->proj, h->n_embd, e));
        TRY(pass_add(p, at->x, at->proj, e));
        TRY(pass_probe(p, SITE_RESID_2, i, at->x, h->n_embd, e));
    }
    return pass_logits(p, e);
}
