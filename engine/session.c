/* A session: weights on a backend, KV cache, scratch, and evaluation in batches. */
#include "arch.h"

#include <stdlib.h>
#include <string.h>

struct engine_session {
    struct engine_model *model;
    struct arena arena;
    struct kv_cache kv;
    struct rope_table rope;
    struct pass pass;
    struct dbuf **buffers; /* of scratch, for release */
    uint32_t n_buffers;
    int32_t *pos, *first, *cells; /* (n_batch), host; first: zeros */
    float *angles;                /* (n_batch, n_dims/2, 2), host */
    float *logits;                /* (cap_logits, n_vocab), host */
    size_t cap_logits, n_logits;
};

enum { MAX_BUFFERS = 16, DEFAULT_BATCH = 512 };

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
    const int32_t zero = 0;
    struct dbuf *f32 = NULL, *ids = NULL;
    if (!p->ops->get_rows)
        return fail(e, ST_UNSUPPORTED, "backend %s has no operation get_rows", p->ops->name);
    enum status st = p->ops->alloc(p->be, t->n_in * sizeof(float), &f32, e);
    if (st == ST_OK) st = p->ops->alloc(p->be, sizeof zero, &ids, e);
    if (st == ST_OK) st = p->ops->upload(p->be, (struct view){ids, 0}, &zero, sizeof zero, e);
    if (st == ST_OK)
        st = p->ops->get_rows(p->be,
                              &(struct op_get_rows){.w = {{*buf, 0}, t->type->id, t->n_in, 1},
                                                    .ids = {ids, 0},
                                                    .out = {f32, 0},
                                                    .n = 1},
                              e);
    if (st == ST_OK) st = p->ops->flush(p->be, e);
    p->ops->release(p->be, ids);
    p->ops->release(p->be, *buf);
    *buf = f32;
    return st;
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
        const void *data = aligned_data(s, t);
        if (!data) return fail(e, ST_NOMEM, "out of memory for a copy of tensor %s", t->name);
        enum status st = p->ops->import(p->be, data, t->bytes, &p->weights[i], e);
        if (st == ST_OK && t->use == TENSOR_VECTOR && t->type->id != TYPE_F32)
            st = vector_to_f32(s, t, &p->weights[i], e);
        if (st != ST_OK) return fail_prefix(e, "tensor %s", t->name);
        done += t->bytes;
        if (o->progress) o->progress(o->progress_ctx, done, total);
    }
    return ST_OK;
}

/* A buffer for n_batch rows of n values of 4 bytes. */
static enum status scratch_rows(struct engine_session *s, struct view *out, size_t rows, size_t n,
                                struct err *e)
{
    size_t count;
    if (!mul_size(rows, n, &count) || count > UINT32_MAX)
        return fail(e, ST_RANGE,
                    "scratch of %zu rows of %zu values: too large; use smaller batches", rows, n);
    enum status st = s->pass.ops->alloc(s->pass.be, count * sizeof(float), &out->buf, e);
    if (st == ST_OK) s->buffers[s->n_buffers++] = out->buf;
    return st;
}

static enum status alloc_scratch(struct engine_session *s, struct err *e)
{
    const struct hyper *h = &s->model->h;
    struct scratch *at = &s->pass.at;
    const size_t n = s->pass.n_batch, n_q = (size_t)h->n_heads * h->head_dim;
    const size_t n_kv = (size_t)h->n_kv_heads * h->head_dim;
    struct {
        struct view *view;
        size_t rows, cols;
    } want[] = {
        {&at->x, n, h->n_embd},
        {&at->norm, n, h->n_embd},
        {&at->proj, n, h->n_embd},
        {&at->q, n, n_q},
        {&at->attn, n, n_q},
        {&at->k, n, n_kv},
        {&at->v, n, n_kv},
        {&at->gate, n, h->n_ff},
        {&at->up, n, h->n_ff},
        {&at->ids, n, 1},
        {&at->pos, n, 1},
        {&at->first, n, 1},
        {&at->cells, n, 1},
        {&at->rope, n, h->rope.n_dims},
        {&at->logits, n < LOGIT_ROWS ? n : LOGIT_ROWS, h->n_vocab},
    };
    _Static_assert(sizeof want / sizeof *want <= MAX_BUFFERS, "every buffer needs its entry");
    s->buffers = arena_alloc(&s->arena, MAX_BUFFERS, sizeof *s->buffers);
    s->pos = arena_alloc(&s->arena, n, sizeof *s->pos);
    s->first = arena_alloc(&s->arena, n, sizeof *s->first);
    s->cells = arena_alloc(&s->arena, n, sizeof *s->cells);
    s->angles = arena_alloc(&s->arena, n * h->rope.n_dims, sizeof *s->angles);
    s->logits = alloc_array(h->n_vocab, sizeof *s->logits);
    s->cap_logits = 1;
    if (!s->buffers || !s->pos || !s->first || !s->cells || !s->angles || !s->logits)
        return fail(e, ST_NOMEM, "out of memory for batches of %zu tokens", n);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        TRY(scratch_rows(s, want[i].view, want[i].rows, want[i].cols, e));
    return ST_OK;
}

/* rope_freqs wins; longrope's choice is made once, by the size of the context. */
static enum status open_rope(struct engine_session *s, struct err *e)
{
    const struct engine_model *m = s->model;
    uint32_t index = m->rope_freqs;
    if (!index) index = s->kv.n_cells > m->h.rope.n_ctx_orig ? m->rope_long : m->rope_short;
    const float *factors = index ? aligned_data(s, &m->tensors[index]) : NULL;
    if (index && !factors) return fail(e, ST_NOMEM, "out of memory for RoPE factors");
    enum status st = rope_table_init(&s->rope, &m->h.rope, factors, &s->arena, e);
    return st != ST_OK && index ? fail_prefix(e, "tensor %s", m->tensors[index].name) : st;
}

static enum status session_init(struct engine_session *s, const struct engine_session_options *o,
                                struct err *e)
{
    const struct hyper *h = &s->model->h;
    const size_t n_ctx = o->n_ctx ? o->n_ctx : h->n_ctx;
    size_t n_batch = o->n_batch ? o->n_batch : DEFAULT_BATCH;
    if (n_ctx > INT32_MAX) return fail(e, ST_RANGE, "a context of %zu tokens is too long", n_ctx);
    if (n_batch > n_ctx) n_batch = n_ctx;
    const enum tensor_type kv_types[2] = {o->k_type, o->v_type};
    for (size_t i = 0; i < 2; i++)
        if (kv_types[i] != TYPE_F32 && kv_types[i] != TYPE_F16)
            return fail(e, ST_UNSUPPORTED, "a KV cache holds f32 or f16, not type %d",
                        (int)kv_types[i]);
    s->pass.n_batch = (uint32_t)n_batch;
    s->pass.probe = o->probe;
    s->pass.unfused = o->unfused;
    s->pass.always_matmul = o->always_matmul;
    s->kv.be = s->pass.be;
    s->kv.k_type = o->k_type;
    s->kv.v_type = o->v_type;
    s->kv.n_cells = (uint32_t)n_ctx;
    s->kv.row = h->n_kv_heads * h->head_dim;
    s->kv.n_layers = h->n_layers;
    s->pass.kv = &s->kv;
    TRY(open_rope(s, e));
    TRY(alloc_scratch(s, e));
    TRY(kv_open(&s->kv, &s->arena, e));
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

static enum status check_tokens(const struct engine_session *s, const int32_t *tokens, size_t n,
                                struct err *e)
{
    const uint32_t n_vocab = s->model->h.n_vocab;
    if (n == 0) return fail(e, ST_USAGE, "no tokens to evaluate");
    if (n > s->kv.n_cells - s->kv.used)
        return fail(e, ST_RANGE, "%zu tokens after %u do not fit into a context of %u", n,
                    s->kv.used, s->kv.n_cells);
    for (size_t i = 0; i < n; i++)
        if (tokens[i] < 0 || (uint32_t)tokens[i] >= n_vocab)
            return fail(e, ST_RANGE, "token %d (number %zu) is not in the vocabulary of %u",
                        (int)tokens[i], i, n_vocab);
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

static enum status eval_batch(struct engine_session *s, const int32_t *tokens, uint32_t n,
                              struct err *e)
{
    struct pass *p = &s->pass;
    p->n_tokens = n;
    TRY(kv_claim(&s->kv, n, s->pos, s->cells, e));
    p->n_cells = s->kv.used;
    rope_table_fill(&s->rope, s->pos, n, s->angles);
    TRY(p->ops->upload(p->be, p->at.ids, tokens, n * sizeof *tokens, e));
    TRY(p->ops->upload(p->be, p->at.pos, s->pos, n * sizeof *s->pos, e));
    TRY(p->ops->upload(p->be, p->at.first, s->first, n * sizeof *s->first, e));
    TRY(p->ops->upload(p->be, p->at.cells, s->cells, n * sizeof *s->cells, e));
    TRY(p->ops->upload(p->be, p->at.rope, s->angles,
                       (size_t)n * s->rope.n_pairs * 2 * sizeof *s->angles, e));
    TRY(s->model->arch->forward(p, e));
    return p->ops->flush(p->be, e);
}

enum status engine_eval(struct engine_session *s, const int32_t *tokens, size_t n, bool all_logits,
                        struct err *e)
{
    struct pass *p = &s->pass;
    const uint32_t start = s->kv.used;
    TRY(check_tokens(s, tokens, n, e));
    TRY(logits_room(s, all_logits ? n : 1, e));
    s->n_logits = 0;
    for (size_t done = 0; done < n;) {
        uint32_t batch = n - done < p->n_batch ? (uint32_t)(n - done) : p->n_batch;
        bool last = done + batch == n;
        p->out_first = all_logits ? 0 : batch - 1;
        p->n_out = all_logits ? batch : last ? 1 : 0;
        p->logits = s->logits + (all_logits ? done * s->model->h.n_vocab : 0);
        enum status st = eval_batch(s, tokens + done, batch, e);
        if (st != ST_OK) {
            kv_rewind(&s->kv, start);
            return st;
        }
        done += batch;
    }
    s->n_logits = all_logits ? n : 1;
    return ST_OK;
}

const float *engine_logits(const struct engine_session *s, size_t i)
{
    return i < s->n_logits ? s->logits + i * s->model->h.n_vocab : NULL;
}

size_t engine_position(const struct engine_session *s)
{
    return s->kv.used;
}

void engine_rewind(struct engine_session *s, size_t pos)
{
    if (pos < s->kv.used) kv_rewind(&s->kv, (uint32_t)pos);
}
