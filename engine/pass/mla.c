/* Attention over latent vectors (deepseek2). A token's keys and values of all heads come from one
 * latent vector; a slice of r rotated values, the same for all heads, goes behind each key. Either
 * the heads are made from the latent (kv_b), or the projection of the keys is taken into the query
 * (k_b), and the cache holds the latents. */
#include "engine/pass/pass.h"

/* at.mla.raw or at.q (n_tokens, n_heads, key_dim): queries, rotated. */
static enum status make_queries(struct pass *p, uint32_t layer, struct view x, struct view out,
                                struct err *e)
{
    const struct hyper *h = &p->model->h;
    const struct layer_weights *l = &p->model->layers[layer];
    const struct mla *w = &l->mla;
    if (w->q_a.w) {
        TRY(pass_linear(p, &w->q_a, x, p->at.mla.query, p->n_tokens, e));
        TRY(pass_norm(p, &w->q_a_norm, p->at.mla.query, p->at.mla.query, p->n_tokens, e));
        TRY(pass_linear(p, &w->q_b, p->at.mla.query, out, p->n_tokens, e));
    } else {
        TRY(pass_linear(p, &l->q, x, out, p->n_tokens, e));
    }
    return pass_rope(p, layer, out, h->n_heads, h->mla.key_dim, h->mla.key_dim - h->rope.n_dims, e);
}

/* at.mla.kv (n_tokens, n_latent + r): latents as projected, and the slice, rotated; at.mla.latent:
 * latents, normalised. */
static enum status make_latents(struct pass *p, uint32_t layer, struct view x, struct err *e)
{
    const struct hyper *h = &p->model->h;
    const struct mla *w = &p->model->layers[layer].mla;
    const uint32_t n_latent = h->mla.n_latent, row = n_latent + h->rope.n_dims;
    struct op_copy take = {.x = p->at.mla.kv,
                           .out = p->at.mla.latent,
                           .rows = p->n_tokens,
                           .groups = 1,
                           .n = n_latent,
                           .x_row = row,
                           .out_row = n_latent};
    TRY(pass_linear(p, &w->kv_a, x, p->at.mla.kv, p->n_tokens, e));
    TRY(RUN(p, copy, &take, e));
    TRY(pass_norm(p, &w->kv_a_norm, p->at.mla.latent, p->at.mla.latent, p->n_tokens, e));
    return pass_rope(p, layer, p->at.mla.kv, 1, row, n_latent, e);
}

static struct view values_at(struct view v, size_t first)
{
    return (struct view){v.buf, v.off + first * sizeof(float)};
}

/* at.k, at.v = heads from the latents; at.q is there. */
static enum status make_heads(struct pass *p, uint32_t layer, struct err *e)
{
    const struct hyper *h = &p->model->h;
    const struct scratch *at = &p->at;
    const uint32_t key = h->mla.key_dim, value = h->mla.value_dim, r = h->rope.n_dims;
    const uint32_t plain = key - r, both = plain + value, n_latent = h->mla.n_latent;
    struct op_copy c = {.x = at->mla.heads,
                        .out = at->k,
                        .rows = p->n_tokens,
                        .groups = h->n_heads,
                        .n = plain,
                        .x_row = h->n_heads * both,
                        .x_group = both,
                        .out_row = h->n_heads * key,
                        .out_group = key};
    TRY(pass_linear(p, &p->model->layers[layer].mla.kv_b, at->mla.latent, at->mla.heads,
                    p->n_tokens, e));
    TRY(RUN(p, copy, &c, e));
    c.x = values_at(at->mla.heads, plain);
    c.out = at->v;
    c.n = value;
    c.out_row = h->n_heads * value;
    c.out_group = value;
    TRY(RUN(p, copy, &c, e));
    struct op_copy slice = {.x = values_at(at->mla.kv, n_latent),
                            .out = values_at(at->k, plain),
                            .rows = p->n_tokens,
                            .groups = h->n_heads,
                            .n = r,
                            .x_row = n_latent + r,
                            .out_row = h->n_heads * key,
                            .out_group = key};
    return RUN(p, copy, &slice, e);
}

/* at.q = [k_b query | rotated], from at.mla.raw. */
static enum status absorb_queries(struct pass *p, uint32_t layer, struct err *e)
{
    const struct hyper *h = &p->model->h;
    const struct scratch *at = &p->at;
    const uint32_t key = h->mla.key_dim, r = h->rope.n_dims, plain = key - r;
    const uint32_t n_latent = h->mla.n_latent, wide = n_latent + r;
    struct op_copy c = {.x = at->mla.raw,
                        .out = at->mla.heads,
                        .rows = p->n_tokens,
                        .groups = h->n_heads,
                        .n = plain,
                        .x_row = h->n_heads * key,
                        .x_group = key,
                        .out_row = h->n_heads * plain,
                        .out_group = plain};
    TRY(RUN(p, copy, &c, e));
    TRY(pass_stack(p, &p->model->layers[layer].mla.k_b, at->mla.heads, true, at->mla.head_ids,
                   h->n_heads, at->mla.absorbed, e));
    c.x = values_at(at->mla.raw, plain);
    c.out = values_at(at->q, n_latent);
    c.n = r;
    c.out_row = h->n_heads * wide;
    c.out_group = wide;
    TRY(RUN(p, copy, &c, e));
    c.x = at->mla.absorbed;
    c.out = at->q;
    c.n = n_latent;
    c.x_row = h->n_heads * n_latent;
    c.x_group = n_latent;
    return RUN(p, copy, &c, e);
}

/* at.k = [latent | rotated], at.v = latent. */
static enum status keep_latents(struct pass *p, struct err *e)
{
    const struct hyper *h = &p->model->h;
    const struct scratch *at = &p->at;
    const uint32_t n_latent = h->mla.n_latent, wide = n_latent + h->rope.n_dims;
    struct op_copy c = {.x = at->mla.latent,
                        .out = at->v,
                        .rows = p->n_tokens,
                        .groups = 1,
                        .n = n_latent,
                        .x_row = n_latent,
                        .out_row = n_latent};
    TRY(RUN(p, copy, &c, e));
    c.out = at->k;
    c.out_row = wide;
    TRY(RUN(p, copy, &c, e));
    c.x = values_at(at->mla.kv, n_latent);
    c.out = values_at(at->k, n_latent);
    c.n = h->rope.n_dims;
    c.x_row = wide;
    return RUN(p, copy, &c, e);
}

enum status pass_mla_qkv(struct pass *p, uint32_t layer, struct view x, struct err *e)
{
    const struct hyper *h = &p->model->h;
    const struct scratch *at = &p->at;
    const bool over_latents = p->model->layers[layer].mla.k_b.w != 0;
    TRY(make_queries(p, layer, x, over_latents ? at->mla.raw : at->q, e));
    TRY(make_latents(p, layer, x, e));
    if (over_latents) {
        TRY(absorb_queries(p, layer, e));
        TRY(keep_latents(p, e));
    } else {
        TRY(make_heads(p, layer, e));
    }
    TRY(pass_probe(p, SITE_V, layer, at->v, (size_t)h->n_kv_heads * h->value_dim, e));
    TRY(pass_probe(p, SITE_Q_ROPE, layer, at->q, (size_t)h->n_heads * h->head_dim, e));
    return pass_probe(p, SITE_K_ROPE, layer, at->k, (size_t)h->n_kv_heads * h->head_dim, e);
}
