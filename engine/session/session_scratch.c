/* The scratch of a session: memory of one batch. What the model does not need stays absent. */
#include "engine/session/session.h"

#include <stdlib.h>

/* A buffer for rows of n values of 4 bytes. */
struct room {
    struct view *view;
    size_t rows, cols; /* one of them 0: not needed */
};

static enum status scratch_rooms(struct engine_session *s, const struct room *rooms, size_t n,
                                 struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        const struct room *r = &rooms[i];
        size_t count;
        if (r->rows == 0 || r->cols == 0) continue;
        if (!mul_size(r->rows, r->cols, &count) || count > UINT32_MAX)
            return fail(e, ST_RANGE,
                        "scratch of %zu rows of %zu values: too large; use smaller batches",
                        r->rows, r->cols);
        TRY(s->pass.ops->alloc(s->pass.be, count * sizeof(float), &r->view->buf, e));
        s->buffers[s->n_buffers++] = r->view->buf;
    }
    return ST_OK;
}

static enum status alloc_stream(struct engine_session *s, struct err *e)
{
    const struct engine_model *m = s->model;
    const struct hyper *h = &m->h;
    struct scratch *at = &s->pass.at;
    const size_t n = s->pass.n_batch, h_dim = h->head_dim, windows = s->kv.stores[1].seq_cells;
    const size_t full = s->kv.stores[0].seq_cells, one = 1;
    const size_t attn_dim = h->mla.value_dim > 0 ? h->mla.value_dim : h->value_dim;
    const size_t n_ff = h->n_ff > h->n_ff_shared ? h->n_ff : h->n_ff_shared;
    const struct room rooms[] = {
        {&at->x, n, h->n_embd},
        {&at->norm, n, h->n_embd},
        {&at->proj, n, h->n_embd},
        {&at->q, n, h->n_heads * h_dim},
        {&at->k, n, h->n_kv_heads * h_dim},
        {&at->v, n, (size_t)h->n_kv_heads * h->value_dim},
        {&at->attn, n, h->n_heads * attn_dim},
        {&at->gate, n, n_ff},
        {&at->up, n, n_ff},
        {&at->ids, n, 1},
        {&at->pos, n, 1},
        {&at->seq_pos, n, m->pos_embd ? one : 0},
        {&at->out_rows, n, 1},
        {&at->temperature, n, h->temperature != 0.0 ? one : 0},
        {&at->first[KV_FULL], n, full ? one : 0},
        {&at->cells[KV_FULL], n, full ? one : 0},
        {&at->rope[KV_FULL], full ? n : 0, h->rope.n_dims},
        {&at->first[KV_WINDOWED], n, windows ? one : 0},
        {&at->cells[KV_WINDOWED], n, windows ? one : 0},
        {&at->rope[KV_WINDOWED], windows ? n : 0, h->rope.n_dims},
        {&at->logits, n < LOGIT_ROWS ? n : LOGIT_ROWS, h->n_vocab},
    };
    return scratch_rooms(s, rooms, sizeof rooms / sizeof *rooms, e);
}

static enum status alloc_experts(struct engine_session *s, struct err *e)
{
    const struct engine_model *m = s->model;
    const struct hyper *h = &m->h;
    struct scratch *at = &s->pass.at;
    const size_t n = s->pass.n_batch, slots = n * h->router.n_used, n_ff = h->n_ff_expert;
    bool fused = false, factors = false, shared = false;
    if (h->router.n_experts == 0) return ST_OK;
    for (uint32_t i = 0; i < h->n_layers; i++) {
        const struct moe *x = &m->layers[i].moe;
        fused = fused || x->gate_up.w;
        factors =
            factors || x->gate_up.factors || x->gate.factors || x->up.factors || x->down.factors;
        shared = shared || x->shared.up.w;
    }
    const size_t inner = fused ? 2 * n_ff : n_ff, widest = inner > h->n_embd ? inner : h->n_embd;
    const struct room rooms[] = {
        {&at->moe.router, n, h->router.n_experts},
        {&at->moe.ids, slots, 1},
        {&at->moe.weights, slots, 1},
        {&at->moe.gate, slots, n_ff},
        {&at->moe.up, slots, n_ff},
        {&at->moe.gate_up, fused ? slots : 0, 2 * n_ff},
        {&at->moe.out, slots, h->n_embd},
        {&at->moe.shared, shared ? n : 0, h->n_embd},
        {&at->moe.shared_gate, shared ? n : 0, 1},
        {&at->moe.factors, factors ? slots : 0, 1},
        {&at->moe.biases, factors ? slots : 0, widest},
    };
    return scratch_rooms(s, rooms, sizeof rooms / sizeof *rooms, e);
}

/* The matrices of heads are experts that every token uses, in order. */
static enum status upload_head_ids(struct engine_session *s, struct err *e)
{
    const struct pass *p = &s->pass;
    const size_t n_heads = s->model->h.n_heads, n = p->n_batch * n_heads;
    int32_t *ids = alloc_array(n, sizeof *ids);
    if (!ids) return fail(e, ST_NOMEM, "out of memory for %zu heads", n);
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)(i % n_heads);
    enum status st = p->ops->upload(p->be, p->at.mla.head_ids, ids, n * sizeof *ids, e);
    free(ids);
    return st;
}

static enum status alloc_latents(struct engine_session *s, struct err *e)
{
    const struct hyper *h = &s->model->h;
    struct scratch *at = &s->pass.at;
    const size_t n = s->pass.n_batch, n_heads = h->n_heads, n_latent = h->mla.n_latent;
    if (n_latent == 0) return ST_OK;
    const bool over_latents = s->model->layers[0].mla.k_b.w != 0;
    const size_t plain = h->mla.key_dim - h->rope.n_dims, r = h->rope.n_dims;
    const struct room rooms[] = {
        {&at->mla.query, n, h->mla.n_query},
        {&at->mla.raw, over_latents ? n : 0, n_heads * h->mla.key_dim},
        {&at->mla.kv, n, n_latent + r},
        {&at->mla.latent, n, n_latent},
        {&at->mla.heads, n, n_heads * (over_latents ? plain : plain + h->mla.value_dim)},
        {&at->mla.absorbed, over_latents ? n : 0, n_heads * n_latent},
        {&at->mla.head_ids, over_latents ? n : 0, n_heads},
        /* of the heads' matrices, if they have factors */
        {&at->moe.factors, over_latents && !at->moe.factors.buf ? n : 0, n_heads},
    };
    TRY(scratch_rooms(s, rooms, sizeof rooms / sizeof *rooms, e));
    return over_latents ? upload_head_ids(s, e) : ST_OK;
}

static enum status alloc_host(struct engine_session *s, struct err *e)
{
    const size_t n = s->pass.n_batch;
    struct kv_places *to = &s->places;
    s->buffers = arena_alloc(&s->arena, SESSION_BUFFERS, sizeof *s->buffers);
    int32_t **const lists[] = {&to->pos,      &to->seq_pos,  &to->first[0], &to->first[1],
                               &to->cells[0], &to->cells[1], &s->rows};
    bool ok = s->buffers != NULL;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        *lists[i] = arena_alloc(&s->arena, n, sizeof **lists[i]);
        ok = ok && *lists[i];
    }
    s->angles = arena_alloc(&s->arena, n * s->model->h.rope.n_dims + 1, sizeof *s->angles);
    s->temperature = arena_alloc(&s->arena, n, sizeof *s->temperature);
    s->start = arena_alloc(&s->arena, s->kv.n_seqs, sizeof *s->start);
    s->adds = arena_alloc(&s->arena, s->kv.n_seqs, sizeof *s->adds);
    s->logits = alloc_array(s->model->h.n_vocab, sizeof *s->logits);
    s->cap_logits = 1;
    if (!ok || !s->angles || !s->temperature || !s->start || !s->adds || !s->logits)
        return fail(e, ST_NOMEM, "out of memory for batches of %zu tokens", n);
    return ST_OK;
}

enum status session_alloc_scratch(struct engine_session *s, struct err *e)
{
    TRY(alloc_host(s, e));
    TRY(alloc_stream(s, e));
    TRY(alloc_experts(s, e));
    return alloc_latents(s, e);
}
