/* The forward pass of every architecture. */
#include "engine/pass/pass.h"

/* Normalises x to at.norm, or leaves it where it is if there is no such norm. */
static enum status norm_input(struct pass *p, const struct norm *n, enum site site, uint32_t layer,
                              struct view *x, struct err *e)
{
    if (!n->w) return ST_OK;
    TRY(pass_norm(p, n, *x, p->at.norm, p->n_tokens, e));
    *x = p->at.norm;
    return pass_probe(p, site, layer, *x, p->model->h.n_embd, e);
}

/* What at.proj goes through before it is added to the stream. */
static enum status norm_result(struct pass *p, const struct norm *n, enum site site, uint32_t layer,
                               struct err *e)
{
    const struct hyper *h = &p->model->h;
    if (n->w) {
        TRY(pass_norm(p, n, p->at.proj, p->at.proj, p->n_tokens, e));
        TRY(pass_probe(p, site, layer, p->at.proj, h->n_embd, e));
    }
    return pass_scale(p, p->at.proj, (size_t)p->n_tokens * h->n_embd, h->residual_scale, e);
}

/* at.proj = attention of x */
static enum status attend(struct pass *p, uint32_t layer, struct view x, struct err *e)
{
    const struct layer_weights *l = &p->model->layers[layer];
    TRY(l->mla.kv_a.w ? pass_mla_qkv(p, layer, x, e) : pass_qkv(p, layer, x, e));
    TRY(pass_attention(p, layer, e));
    TRY(pass_linear(p, &l->attn_output, p->at.attn, p->at.proj, p->n_tokens, e));
    TRY(pass_probe(p, SITE_ATTN_OUT, layer, p->at.proj, p->model->h.n_embd, e));
    return norm_result(p, &l->attn_post_norm, SITE_ATTN_POST, layer, e);
}

static enum status run_layer(struct pass *p, uint32_t i, struct err *e)
{
    const struct hyper *h = &p->model->h;
    const struct layer_weights *l = &p->model->layers[i];
    const struct scratch *at = &p->at;
    struct view in = at->x;

    TRY(norm_input(p, &l->attn_norm, SITE_ATTN_NORM, i, &in, e));
    TRY(attend(p, i, in, e));
    if (!h->parallel) in = at->x;
    /* Parallel models norm x before the attention's part is in it. */
    if (h->parallel && l->ffn_norm.w) {
        in = at->x;
        TRY(norm_input(p, &l->ffn_norm, SITE_FFN_NORM, i, &in, e));
    }
    TRY(pass_add(p, at->x, at->proj, e));
    TRY(pass_probe(p, SITE_RESID_1, i, at->x, h->n_embd, e));

    if (!h->parallel) TRY(norm_input(p, &l->ffn_norm, SITE_FFN_NORM, i, &in, e));
    TRY(pass_ffn(p, i, in, at->proj, e));
    TRY(pass_probe(p, SITE_FFN_OUT, i, at->proj, h->n_embd, e));
    TRY(norm_result(p, &l->ffn_post_norm, SITE_FFN_POST, i, e));
    TRY(pass_add(p, at->x, at->proj, e));
    return pass_probe(p, SITE_RESID_2, i, at->x, h->n_embd, e);
}

enum status pass_forward(struct pass *p, struct err *e)
{
    const struct hyper *h = &p->model->h;
    TRY(pass_embed(p, e));
    TRY(pass_probe(p, SITE_EMBD, 0, p->at.x, h->n_embd, e));
    for (uint32_t i = 0; i < h->n_layers; i++) TRY(run_layer(p, i, e));
    return pass_logits(p, e);
}
