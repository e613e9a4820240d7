/* Opening and closing a session: options, sizes of the cache, RoPE. */
#include "engine/session/session.h"

#include <stdlib.h>

enum { DEFAULT_BATCH = 512, CELL_GROUP = 32 };

/* rope_freqs wins; longrope's choice is made once, by the size of the context. */
static enum status open_rope(struct engine_session *s, struct err *e)
{
    const struct engine_model *m = s->model;
    uint32_t index = m->rope_freqs;
    if (m->h.rope.n_dims == 0) return ST_OK;
    if (!index) index = s->kv.n_ctx > m->h.rope.n_ctx_orig ? m->rope_long : m->rope_short;
    const float *factors = index ? session_aligned_data(s, &m->tensors[index]) : NULL;
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
    /* Latent values are a part of the latent keys. */
    const enum tensor_type v_type = m->layers[0].mla.k_b.w ? o->k_type : o->v_type;
    TRY(check_kv_type(o->k_type, "keys", m->h.head_dim, e));
    TRY(check_kv_type(v_type, "values", m->h.value_dim, e));
    s->pass.n_batch = (uint32_t)n_batch;
    s->pass.probe = o->probe;
    s->pass.unfused = o->unfused;
    s->pass.always_matmul = o->always_matmul;
    s->kv.be = s->pass.be;
    s->kv.k_type = o->k_type;
    s->kv.v_type = v_type;
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
    TRY(session_alloc_scratch(s, e));
    TRY(kv_open(&s->kv, windowed, &s->arena, e));
    return session_import_weights(s, o, e);
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
