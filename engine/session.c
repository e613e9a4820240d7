/* A session: weights on a backend, KV cache, scratch, and evaluation in batches. */
#include "arch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct engine_session {
    struct engine_model *model;
    struct arena arena;
    struct kv_cache kv;
    struct rope_table rope[KV_KINDS];
    struct pass pass;
    struct dbuf **buffers; /* of scratch, for release */
    uint32_t n_buffers;
    struct kv_places places; /* (n_batch) each, host */
    float *angles;           /* (n_batch, n_dims/2, 2), host */
    float *temperature;      /* (n_batch), host */
    int32_t *rows;           /* (n_batch), host: of a batch, whose logits are kept */
    uint32_t *start, *adds;  /* (n_seqs): where sequences stood before a call, what it adds */
    float *logits;           /* (cap_logits, n_vocab), host */
    size_t cap_logits, n_logits;
};

enum { MAX_BUFFERS = 64, DEFAULT_BATCH = 512, CELL_GROUP = 32 };

/* ---- opening -------------------------------------------------------------------------------- */

/* The device reads f32 in place: a tensor that the file does not align is copied. */
static const void *aligned_data(struct engine_session *s, const struct model_tensor *t)
{
    if ((uintptr_t)t->data % sizeof(float) == 0) return t->data;
    void *copy = arena_alloc(&s->arena, t->bytes, 1);
    if (copy) memcpy(copy, t->data, t->bytes);
    return copy;
}

/* Norms and biases of other types become f32 on the device, by the decoder that serves lookups. */
static enum status vector_to_f32(struct engine_session *s, const struct model_tensor *t,
                                 struct dbuf **buf, struct err *e)
{
    struct pass *p = &s->pass;
    struct dbuf *f32 = NULL, *ids = NULL;
    int32_t *rows = alloc_array(t->n_out, sizeof *rows);
    enum status st = rows ? ST_OK : fail(e, ST_NOMEM, "out of memory for %u rows", t->n_out);
    for (uint32_t i = 0; rows && i < t->n_out; i++) rows[i] = (int32_t)i;
    if (st == ST_OK) st = p->ops->alloc(p->be, (size_t)t->n_in * t->n_out * sizeof(float), &f32, e);
    if (st == ST_OK) st = p->ops->alloc(p->be, t->n_out * sizeof *rows, &ids, e);
    if (st == ST_OK)
        st = p->ops->upload(p->be, (struct view){ids, 0}, rows, t->n_out * sizeof *rows, e);
    if (st == ST_OK)
        st = RUN(p, get_rows,
                 (&(struct op_get_rows){.w = {{*buf, 0}, t->type->id, t->n_in, t->n_out},
                                        .ids = {ids, 0},
                                        .out = {f32, 0},
                                        .n = t->n_out}),
                 e);
    if (st == ST_OK) st = p->ops->flush(p->be, e);
    p->ops->release(p->be, ids);
    p->ops->release(p->be, *buf);
    free(rows);
    *buf = f32;
    return st;
}

/* Matrices that the file has one by one, put together on the device. */
static enum status import_parts(struct engine_session *s, const struct model_tensor *t,
                                struct dbuf **out, struct err *e)
{
    const struct pass *p = &s->pass;
    const size_t each = t->bytes / t->n_mats;
    if (each % sizeof(float) != 0)
        return fail(e, ST_UNSUPPORTED, "matrices of %zu bytes cannot be put together", each);
    enum status st = p->ops->alloc(p->be, t->bytes, out, e);
    for (uint32_t i = 0; i < t->n_mats && st == ST_OK; i++)
        st = p->ops->upload(p->be, (struct view){*out, i * each}, t->parts[i], each, e);
    return st;
}

static enum status import_tensor(struct engine_session *s, const struct model_tensor *t,
                                 struct dbuf **out, struct err *e)
{
    const struct pass *p = &s->pass;
    if (t->parts) return import_parts(s, t, out, e);
    const void *data = aligned_data(s, t);
    if (!data) return fail(e, ST_NOMEM, "out of memory for a copy");
    TRY(p->ops->import(p->be, data, t->bytes, out, e));
    return t->use == TENSOR_VECTOR && t->type->id != TYPE_F32 ? vector_to_f32(s, t, out, e) : ST_OK;
}

static enum status import_weights(struct engine_session *s, const struct engine_session_options *o,
                                  struct err *e)
{
    const struct engine_model *m = s->model;
    struct pass *p = &s->pass;
    size_t total = 0, done = 0;
    p->weights = arena_alloc(&s->arena, m->n_tensors, sizeof *p->weights);
    if (!p->weights) return fail(e, ST_NOMEM, "out of memory for %u tensors", m->n_tensors);
    for (uint32_t i = 1; i < m->n_tensors; i++)
        if (m->tensors[i].use != TENSOR_HOST) total += m->tensors[i].bytes;
    for (uint32_t i = 1; i < m->n_tensors; i++) {
        const struct model_tensor *t = &m->tensors[i];
        if (t->use == TENSOR_HOST) continue;
        enum status st = import_tensor(s, t, &p->weights[i], e);
        if (st != ST_OK) return fail_prefix(e, "tensor %s", t->name);
        done += t->bytes;
        if (o->progress) o->progress(o->progress_ctx, done, total);
    }
    return ST_OK;
}

/* ---- scratch --------------------------------------------------------------------------------- */

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
    s->buffers = arena_alloc(&s->arena, MAX_BUFFERS, sizeof *s->buffers);
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

/* ---- options --------------------------------------------------------------------------------- */

/* rope_freqs wins; longrope's choice is made once, by the size of the context. */
static enum status open_rope(struct engine_session *s, struct err *e)
{
    const struct engine_model *m = s->model;
    uint32_t index = m->rope_freqs;
    if (m->h.rope.n_dims == 0) return ST_OK;
    if (!index) index = s->kv.n_ctx > m->h.rope.n_ctx_orig ? m->rope_long : m->rope_short;
    const float *factors = index ? aligned_data(s, &m->tensors[index]) : NULL;
    if (index && !factors) return fail(e, ST_NOMEM, "out of memory for RoPE factors");
    enum status st = rope_table_init(&s->rope[KV_FULL], &m->h.rope, factors, &s->arena, e);
    if (st != ST_OK) return index ? fail_prefix(e, "tensor %s", m->tensors[index].name) : st;
    return rope_table_init(&s->rope[KV_WINDOWED], &m->h.rope_windowed, NULL, &s->arena, e);
}

/* What a head's row of the cache is made of must fill whole blocks. */
static enum status check_kv_type(enum tensor_type type, const char *what, uint32_t dim,
                                 struct err *e)
{
    static const enum tensor_type known[] = {TYPE_F32,  TYPE_F16,  TYPE_BF16,  TYPE_Q8_0,
                                             TYPE_Q4_0, TYPE_Q5_1, TYPE_IQ4_NL};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const struct type_spec *t = type_by_id(type);
        if (type != known[i]) continue;
        if (dim % t->block_elems == 0) return ST_OK;
        return fail(e, ST_UNSUPPORTED,
                    "a KV cache of type %s needs %s of a multiple of %u dimensions; the model has "
                    "%u",
                    t->name, what, t->block_elems, dim);
    }
    return fail(e, ST_UNSUPPORTED,
                "a KV cache holds f32, f16, bf16, q8_0, q4_0, q5_1 or iq4_NL, not type %d",
                (int)type);
}

static size_t in_groups(size_t n)
{
    return (n + CELL_GROUP - 1) / CELL_GROUP * CELL_GROUP;
}

/* Sequences begin at whole groups of cells. A ring holds what the first token of a batch sees and
 * the batch itself. */
static enum status size_stores(struct engine_session *s, const struct engine_session_options *o,
                               bool *windowed, struct err *e)
{
    const struct engine_model *m = s->model;
    struct kv_cache *kv = &s->kv;
    size_t full = kv->n_seqs > 1 ? in_groups(kv->n_ctx) : kv->n_ctx;
    size_t ring = in_groups((size_t)m->h.window + s->pass.n_batch);
    if (o->full_cells || ring > full) ring = full;
    size_t cells;
    if (!mul_size(full, kv->n_seqs, &cells) || cells > INT32_MAX)
        return fail(e, ST_RANGE, "%u sequences of %u tokens are too many", kv->n_seqs, kv->n_ctx);
    for (uint32_t i = 0; i < m->h.n_layers; i++) {
        windowed[i] = m->layers[i].windowed;
        kv->stores[windowed[i] ? KV_WINDOWED : KV_FULL].seq_cells =
            (uint32_t)(windowed[i] ? ring : full);
    }
    kv->stores[KV_WINDOWED].window = m->h.window;
    return ST_OK;
}

static enum status read_options(struct engine_session *s, const struct engine_session_options *o,
                                struct err *e)
{
    const struct engine_model *m = s->model;
    const size_t n_ctx = o->n_ctx ? o->n_ctx : m->h.n_ctx;
    const size_t n_seqs = o->n_seqs ? o->n_seqs : 1;
    size_t n_batch = o->n_batch ? o->n_batch : DEFAULT_BATCH;
    if (n_ctx > INT32_MAX) return fail(e, ST_RANGE, "a context of %zu tokens is too long", n_ctx);
    if (n_seqs > INT32_MAX / n_ctx)
        return fail(e, ST_RANGE, "%zu sequences of %zu tokens are too many", n_seqs, n_ctx);
    if (m->pos_embd && n_ctx > m->h.n_ctx)
        return fail(e, ST_RANGE,
                    "a context of %zu tokens: the model has embeddings of %u positions", n_ctx,
                    m->h.n_ctx);
    if (n_batch > n_ctx * n_seqs) n_batch = n_ctx * n_seqs;
    TRY(check_kv_type(o->k_type, "keys", m->h.head_dim, e));
    TRY(check_kv_type(o->v_type, "values", m->h.value_dim, e));
    s->pass.n_batch = (uint32_t)n_batch;
    s->pass.probe = o->probe;
    s->pass.unfused = o->unfused;
    s->pass.always_matmul = o->always_matmul;
    s->kv.be = s->pass.be;
    s->kv.k_type = o->k_type;
    s->kv.v_type = o->v_type;
    s->kv.n_ctx = (uint32_t)n_ctx;
    s->kv.n_seqs = (uint32_t)n_seqs;
    s->kv.k_row = m->h.n_kv_heads * m->h.head_dim;
    s->kv.v_row = m->h.n_kv_heads * m->h.value_dim;
    s->kv.n_layers = m->h.n_layers;
    s->pass.kv = &s->kv;
    return ST_OK;
}

static enum status session_init(struct engine_session *s, const struct engine_session_options *o,
                                struct err *e)
{
    bool *windowed = arena_alloc(&s->arena, s->model->h.n_layers, sizeof *windowed);
    if (!windowed) return fail(e, ST_NOMEM, "out of memory for a session");
    TRY(read_options(s, o, e));
    TRY(size_stores(s, o, windowed, e));
    TRY(open_rope(s, e));
    TRY(alloc_host(s, e));
    TRY(alloc_stream(s, e));
    TRY(alloc_experts(s, e));
    TRY(alloc_latents(s, e));
    TRY(kv_open(&s->kv, windowed, &s->arena, e));
    return import_weights(s, o, e);
}

enum status engine_session_open(struct engine_session **out, struct engine_model *m,
                                struct backend *b, const struct engine_session_options *o,
                                struct err *e)
{
    static const struct engine_session_options defaults = {0};
    struct engine_session *s = alloc_array(1, sizeof *s);
    *out = NULL;
    if (!s) return fail(e, ST_NOMEM, "out of memory for a session");
    s->model = m;
    s->pass.model = m;
    s->pass.be = b;
    s->pass.ops = backend_ops_of(b);
    enum status st = session_init(s, o ? o : &defaults, e);
    if (st != ST_OK) {
        engine_session_close(s);
        return st;
    }
    *out = s;
    return ST_OK;
}

void engine_session_close(struct engine_session *s)
{
    if (!s) return;
    struct pass *p = &s->pass;
    for (uint32_t i = 0; i < s->n_buffers; i++) p->ops->release(p->be, s->buffers[i]);
    for (uint32_t i = 1; p->weights && i < s->model->n_tensors; i++)
        p->ops->release(p->be, p->weights[i]);
    p->ops->release(p->be, p->at.probs.buf);
    kv_close(&s->kv);
    free(p->host);
    free(s->logits);
    arena_free(&s->arena);
    free(s);
}

/* ---- evaluation ------------------------------------------------------------------------------ */

/* Whose logits are kept. */
enum keep { KEEP_LAST, KEEP_ALL, KEEP_MARKED };

static enum status check_batch(struct engine_session *s, const struct engine_batch *b,
                               struct err *e)
{
    const uint32_t n_vocab = s->model->h.n_vocab;
    if (b->n == 0) return fail(e, ST_USAGE, "no tokens to evaluate");
    for (uint32_t q = 0; q < s->kv.n_seqs; q++) s->adds[q] = 0;
    for (size_t i = 0; i < b->n; i++) {
        const uint32_t q = b->seqs ? b->seqs[i] : 0;
        if (b->tokens[i] < 0 || (uint32_t)b->tokens[i] >= n_vocab)
            return fail(e, ST_RANGE, "token %d (number %zu) is not in the vocabulary of %u",
                        (int)b->tokens[i], i, n_vocab);
        if (q >= s->kv.n_seqs)
            return fail(e, ST_RANGE, "token number %zu is of sequence %u; there are %u", i, q,
                        s->kv.n_seqs);
        if (s->adds[q]++ >= s->kv.n_ctx - s->kv.seqs[q].used)
            return fail(e, ST_RANGE, "%zu tokens after %u do not fit into a context of %u", b->n,
                        s->kv.seqs[q].used, s->kv.n_ctx);
    }
    return ST_OK;
}

static enum status logits_room(struct engine_session *s, size_t rows, struct err *e)
{
    size_t count;
    if (rows <= s->cap_logits) return ST_OK;
    if (!mul_size(rows, s->model->h.n_vocab, &count))
        return fail(e, ST_RANGE, "logits of %zu tokens do not fit in memory", rows);
    float *grown = alloc_array(count, sizeof *grown);
    if (!grown) return fail(e, ST_NOMEM, "out of memory for the logits of %zu tokens", rows);
    free(s->logits);
    s->logits = grown;
    s->cap_logits = rows;
    return ST_OK;
}

/* n values of 4 bytes, if the pass has a place for them. */
static enum status send(struct engine_session *s, struct view to, const void *from, size_t n,
                        struct err *e)
{
    const struct pass *p = &s->pass;
    return to.buf ? p->ops->upload(p->be, to, from, n * sizeof(float), e) : ST_OK;
}

static enum status send_angles(struct engine_session *s, uint32_t n, struct err *e)
{
    for (int k = 0; k < KV_KINDS; k++) {
        const struct view to = s->pass.at.rope[k];
        if (!to.buf) continue;
        rope_table_fill(&s->rope[k], s->places.seq_pos, n, s->angles);
        TRY(send(s, to, s->angles, (size_t)n * s->rope[k].n_pairs * 2, e));
    }
    return ST_OK;
}

static enum status send_temperature(struct engine_session *s, uint32_t n, struct err *e)
{
    const struct hyper *h = &s->model->h;
    if (h->temperature == 0.0) return ST_OK;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t turns = (uint32_t)s->places.seq_pos[i] / h->rope.n_ctx_orig;
        s->temperature[i] = (float)(log(turns + 1.0) * h->temperature + 1.0);
    }
    return send(s, s->pass.at.temperature, s->temperature, n, e);
}

/* Finds the rows of tokens [from, from + n) to keep; if they are neighbours, no list is needed. */
static enum status choose_rows(struct engine_session *s, const struct engine_batch *b,
                               enum keep keep, size_t from, uint32_t n, struct err *e)
{
    struct pass *p = &s->pass;
    p->n_out = 0;
    for (uint32_t i = 0; i < n; i++)
        if (keep == KEEP_ALL || (keep == KEEP_LAST && from + i + 1 == b->n) ||
            (keep == KEEP_MARKED && b->keep[from + i]))
            s->rows[p->n_out++] = (int32_t)i;
    if (p->n_out == 0) return ST_OK;
    p->out_first = (uint32_t)s->rows[0];
    p->gathered = (uint32_t)s->rows[p->n_out - 1] - p->out_first + 1 != p->n_out;
    return p->gathered ? send(s, p->at.out_rows, s->rows, p->n_out, e) : ST_OK;
}

static enum status eval_part(struct engine_session *s, const struct engine_batch *b, size_t from,
                             uint32_t n, struct err *e)
{
    struct pass *p = &s->pass;
    const struct kv_places *to = &s->places;
    p->n_tokens = n;
    TRY(kv_claim(&s->kv, n, b->seqs ? b->seqs + from : NULL, &s->places, e));
    TRY(send_angles(s, n, e));
    TRY(send_temperature(s, n, e));
    TRY(send(s, p->at.ids, b->tokens + from, n, e));
    TRY(send(s, p->at.pos, to->pos, n, e));
    TRY(send(s, p->at.seq_pos, to->seq_pos, n, e));
    for (int k = 0; k < KV_KINDS; k++) {
        p->cells[k] = to->range[k];
        TRY(send(s, p->at.first[k], to->first[k], n, e));
        TRY(send(s, p->at.cells[k], to->cells[k], n, e));
    }
    TRY(pass_forward(p, e));
    return p->ops->flush(p->be, e);
}

/* Sequences go back to where they were; one whose ring has lost what it saw there is emptied. */
static void undo(struct engine_session *s)
{
    for (uint32_t q = 0; q < s->kv.n_seqs; q++)
        kv_rewind(&s->kv, q, kv_holds(&s->kv, q, s->start[q]) ? s->start[q] : 0);
}

static enum status eval(struct engine_session *s, const struct engine_batch *b, enum keep keep,
                        struct err *e)
{
    struct pass *p = &s->pass;
    size_t rows = keep == KEEP_ALL ? b->n : keep == KEEP_LAST ? 1 : 0, done_rows = 0;
    TRY(check_batch(s, b, e));
    for (size_t i = 0; keep == KEEP_MARKED && i < b->n; i++) rows += b->keep[i];
    TRY(logits_room(s, rows, e));
    for (uint32_t q = 0; q < s->kv.n_seqs; q++) s->start[q] = s->kv.seqs[q].used;
    s->n_logits = 0;
    for (size_t done = 0; done < b->n;) {
        uint32_t n = b->n - done < p->n_batch ? (uint32_t)(b->n - done) : p->n_batch;
        enum status st = choose_rows(s, b, keep, done, n, e);
        p->logits = s->logits + done_rows * s->model->h.n_vocab;
        if (st == ST_OK) st = eval_part(s, b, done, n, e);
        if (st != ST_OK) {
            undo(s);
            return st;
        }
        done += n;
        done_rows += p->n_out;
    }
    s->n_logits = rows;
    return ST_OK;
}

enum status engine_eval_batch(struct engine_session *s, const struct engine_batch *b, struct err *e)
{
    return eval(s, b, b->keep ? KEEP_MARKED : KEEP_LAST, e);
}

enum status engine_eval(struct engine_session *s, const int32_t *tokens, size_t n, bool all_logits,
                        struct err *e)
{
    struct engine_batch b = {.tokens = tokens, .n = n};
    return eval(s, &b, all_logits ? KEEP_ALL : KEEP_LAST, e);
}

const float *engine_logits(const struct engine_session *s, size_t i)
{
    return i < s->n_logits ? s->logits + i * s->model->h.n_vocab : NULL;
}

size_t engine_seq_position(const struct engine_session *s, uint32_t seq)
{
    return seq < s->kv.n_seqs ? s->kv.seqs[seq].used : 0;
}

size_t engine_position(const struct engine_session *s)
{
    return engine_seq_position(s, 0);
}

enum status engine_seq_rewind(struct engine_session *s, uint32_t seq, size_t pos, struct err *e)
{
    if (seq >= s->kv.n_seqs)
        return fail(e, ST_RANGE, "sequence %u; there are %u", seq, s->kv.n_seqs);
    const struct kv_seq *q = &s->kv.seqs[seq];
    if (pos > q->used)
        return fail(e, ST_RANGE, "position %zu is beyond the %u of the sequence", pos, q->used);
    if (pos < q->used && !kv_holds(&s->kv, seq, (uint32_t)pos))
        return fail(e, ST_RANGE,
                    "position %zu of %u: a layer with a window of %u holds nothing before %u", pos,
                    q->used, s->model->h.window, q->kept);
    kv_rewind(&s->kv, seq, (uint32_t)pos);
    return ST_OK;
}

enum status engine_rewind(struct engine_session *s, size_t pos, struct err *e)
{
    return engine_seq_rewind(s, 0, pos, e);
}
