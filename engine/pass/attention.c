/* Attention: projections, norms and rotation of queries and keys, the cache, and the sum. */
#include "engine/pass/pass.h"

/* Normalises heads or rows of x, (n_tokens, n), if the model does. */
static enum status norm_heads(struct pass *p, const struct norm *w, enum site site, uint32_t layer,
                              struct view x, size_t n, struct err *e)
{
    if (!w->w) return ST_OK;
    TRY(pass_norm(p, w, x, x, p->n_tokens * n / w->n, e));
    return pass_probe(p, site, layer, x, n, e);
}

enum status pass_rope(struct pass *p, uint32_t layer, struct view x, uint32_t n_heads,
                      uint32_t head_dim, uint32_t first, struct err *e)
{
    const bool windowed = p->model->layers[layer].windowed;
    const struct rope_params *r = &p->model->h.rope;
    struct op_rope rope = {.x = x,
                           .table = p->at.rope[windowed ? KV_WINDOWED : KV_FULL],
                           .n_tokens = p->n_tokens,
                           .n_heads = n_heads,
                           .head_dim = head_dim,
                           .first = first,
                           .n_dims = r->n_dims,
                           .pairing = r->pairing};
    return RUN(p, rope, &rope, e);
}

/* at.q *= what queries grow by with the position, if they do. */
static enum status grow_queries(struct pass *p, struct err *e)
{
    const struct hyper *h = &p->model->h;
    struct op_scale_rows scale = {p->at.q, p->at.temperature, p->at.q, p->n_tokens,
                                  h->n_heads * h->head_dim};
    return h->temperature != 0.0 ? RUN(p, scale_rows, &scale, e) : ST_OK;
}

static enum status rotate(struct pass *p, uint32_t layer, struct err *e)
{
    const struct hyper *h = &p->model->h;
    if (h->rope.n_dims == 0) return grow_queries(p, e);
    TRY(pass_rope(p, layer, p->at.q, h->n_heads, h->head_dim, 0, e));
    TRY(grow_queries(p, e));
    TRY(pass_probe(p, SITE_Q_ROPE, layer, p->at.q, (size_t)h->n_heads * h->head_dim, e));
    TRY(pass_rope(p, layer, p->at.k, h->n_kv_heads, h->head_dim, 0, e));
    return pass_probe(p, SITE_K_ROPE, layer, p->at.k, (size_t)h->n_kv_heads * h->head_dim, e);
}

enum status pass_qkv(struct pass *p, uint32_t layer, struct view x, struct err *e)
{
    const struct layer_weights *l = &p->model->layers[layer];
    const struct hyper *h = &p->model->h;
    const struct scratch *at = &p->at;
    const size_t n_q = (size_t)h->n_heads * h->head_dim, n_kv = (size_t)h->n_kv_heads * h->head_dim;
    TRY(pass_linear(p, &l->q, x, at->q, p->n_tokens, e));
    TRY(pass_probe(p, SITE_Q, layer, at->q, n_q, e));
    TRY(pass_linear(p, &l->k, x, at->k, p->n_tokens, e));
    TRY(pass_probe(p, SITE_K, layer, at->k, n_kv, e));
    TRY(pass_linear(p, &l->v, x, at->v, p->n_tokens, e));
    TRY(pass_probe(p, SITE_V, layer, at->v, n_kv, e));
    TRY(norm_heads(p, &l->q_norm, SITE_Q_NORM, layer, at->q, n_q, e));
    TRY(norm_heads(p, &l->k_norm, SITE_K_NORM, layer, at->k, n_kv, e));
    return rotate(p, layer, e);
}

/* ---- cache and sum
 * ---------------------------------------------------------------------------- */

static enum status write_cache(struct pass *p, uint32_t layer, enum kv_kind kind, struct err *e)
{
    const struct kv_cache *kv = p->kv;
    struct op_kv_write w = {.src = p->at.k,
                            .cells = p->at.cells[kind],
                            .cache = {kv->layers[layer].k, 0},
                            .n_tokens = p->n_tokens,
                            .row = kv->k_row,
                            .type = kv->k_type};
    TRY(RUN(p, kv_write, &w, e));
    w.src = p->at.v;
    w.cache.buf = kv->layers[layer].v;
    w.row = kv->v_row;
    w.type = kv->v_type;
    return RUN(p, kv_write, &w, e);
}

/* Memory of the scores, taken when a session first needs it, for the longest sequence. */
static enum status probs_room(struct pass *p, struct err *e)
{
    size_t n;
    const uint32_t cells = kv_most_cells(p->kv);
    if (p->at.probs.buf) return ST_OK;
    if (!mul_size(p->n_batch, p->model->h.n_heads, &n) || !mul_size(n, cells, &n) || n > UINT32_MAX)
        return fail(e, ST_RANGE,
                    "attention scores of %u tokens, %u heads and %u cells: too many; "
                    "use smaller batches or a smaller context",
                    p->n_batch, p->model->h.n_heads, cells);
    return p->ops->alloc(p->be, n * sizeof(float), &p->at.probs.buf, e);
}

static enum status attention_unfused(struct pass *p, uint32_t layer, struct op_attention *a,
                                     struct err *e)
{
    const size_t cols = (size_t)a->n_heads * a->n_cells;
    TRY(probs_room(p, e));
    a->probs = p->at.probs;
    struct op_softmax softmax = {.x = a->probs,
                                 .sinks = a->sinks,
                                 .out = a->probs,
                                 .rows = a->n_tokens * a->n_heads,
                                 .n = a->n_cells,
                                 .n_sinks = a->sinks.buf ? a->n_heads : 0};
    TRY(RUN(p, attn_scores, a, e));
    TRY(pass_probe(p, SITE_SCORES, layer, a->probs, cols, e));
    TRY(RUN(p, softmax, &softmax, e));
    TRY(pass_probe(p, SITE_WEIGHTS, layer, a->probs, cols, e));
    return RUN(p, attn_mix, a, e);
}

/* The cells of the batch's sequences, from the first on. */
static struct op_attention attention_args(const struct pass *p, uint32_t layer, enum kv_kind kind)
{
    const struct hyper *h = &p->model->h;
    const struct kv_cache *kv = p->kv;
    const size_t from = p->cells[kind].from;
    return (struct op_attention){
        .q = p->at.q,
        .k = {kv->layers[layer].k, from * type_bytes(type_by_id(kv->k_type), kv->k_row)},
        .v = {kv->layers[layer].v, from * type_bytes(type_by_id(kv->v_type), kv->v_row)},
        .pos = p->at.pos,
        .first = p->at.first[kind],
        .cell_pos = {kv->stores[kind].cell_pos, from * sizeof(int32_t)},
        .sinks = pass_weight(p, p->model->layers[layer].sinks),
        .out = p->at.attn,
        .n_tokens = p->n_tokens,
        .n_heads = h->n_heads,
        .n_kv_heads = h->n_kv_heads,
        .head_dim = h->head_dim,
        .value_dim = h->value_dim,
        .n_cells = p->cells[kind].n,
        .k_type = kv->k_type,
        .v_type = kv->v_type,
        .scale = h->attn_scale,
        .softcap = h->attn_cap,
    };
}

enum status pass_attention(struct pass *p, uint32_t layer, struct err *e)
{
    const struct hyper *h = &p->model->h;
    const struct layer_weights *l = &p->model->layers[layer];
    const enum kv_kind kind = l->windowed ? KV_WINDOWED : KV_FULL;
    struct op_attention a = attention_args(p, layer, kind);
    const bool over_latents = l->mla.v_b.w != 0;
    if (over_latents) a.out = p->at.mla.absorbed;
    TRY(write_cache(p, layer, kind, e));
    if (p->unfused || pass_probe_wants(p, SITE_SCORES, layer) ||
        pass_probe_wants(p, SITE_WEIGHTS, layer))
        TRY(attention_unfused(p, layer, &a, e));
    else
        TRY(RUN(p, attention, &a, e));
    if (over_latents)
        TRY(pass_stack(p, &l->mla.v_b, a.out, true, p->at.mla.head_ids, h->n_heads, p->at.attn, e));
    return pass_probe(p, SITE_ATTN, layer, p->at.attn,
                      (size_t)h->n_heads * (over_latents ? h->mla.value_dim : h->value_dim), e);
}
