/* Building blocks of forward passes, and the table of architectures. */
#include "arch.h"

#include <stdlib.h>

static const struct arch archs[] = {
#define ARCH(id, name) {name, load_##id, forward_##id},
#include "archs.def"
#undef ARCH
};

const struct arch *arch_at(size_t i)
{
    return i < sizeof archs / sizeof *archs ? &archs[i] : NULL;
}

/* Queues an operation, or says that the backend has none. */
#define RUN(p, op, args, e)                                                                        \
    ((p)->ops->op ? (p)->ops->op((p)->be, (args), (e))                                             \
                  : fail((e), ST_UNSUPPORTED, "backend %s has no operation " #op, (p)->ops->name))

static struct view weight_at(const struct pass *p, uint32_t index)
{
    return (struct view){index ? p->weights[index] : NULL, 0};
}

static struct weight weight_of(const struct pass *p, uint32_t index)
{
    const struct model_tensor *t = &p->model->tensors[index];
    return (struct weight){weight_at(p, index), t->type->id, t->n_in, t->n_out};
}

/* The row-th row of rows of n f32 values. */
static struct view row_at(struct view v, size_t row, size_t n)
{
    return (struct view){v.buf, v.off + row * n * sizeof(float)};
}

/* ---- probe --------------------------------------------------------------------------------- */

static bool probe_wants(const struct pass *p, enum site site, uint32_t layer)
{
    return p->probe && p->probe->take && p->probe->want &&
           p->probe->want(p->probe->ctx, site, layer);
}

/* Room on the host for n values; NULL when out of memory. */
static float *probe_room(struct pass *p, size_t n)
{
    if (n <= p->host_cap) return p->host;
    free(p->host);
    p->host = alloc_array(n, sizeof *p->host);
    p->host_cap = p->host ? n : 0;
    return p->host;
}

static enum status probe_rows(struct pass *p, enum site site, uint32_t layer, struct view at,
                              size_t rows, size_t cols, struct err *e)
{
    const struct engine_probe *probe = p->probe;
    if (probe_wants(p, site, layer)) {
        float *values = probe_room(p, rows * cols);
        if (!values)
            return fail(e, ST_NOMEM, "out of memory for a probe of %zu values", rows * cols);
        TRY(p->ops->download(p->be, values, at, rows * cols * sizeof(float), e));
        probe->take(probe->ctx, site, layer, values, rows, cols);
    }
    if (!probe || !probe->give) return ST_OK;
    const float *given = probe->give(probe->ctx, site, layer, rows, cols);
    if (!given) return ST_OK;
    return p->ops->upload(p->be, at, given, rows * cols * sizeof(float), e);
}

enum status pass_probe(struct pass *p, enum site site, uint32_t layer, struct view at, size_t cols,
                       struct err *e)
{
    return probe_rows(p, site, layer, at, p->n_tokens, cols, e);
}

/* ---- embedding, norms, products ------------------------------------------------------------- */

enum status pass_embed(struct pass *p, struct err *e)
{
    return RUN(p, get_rows,
               (&(struct op_get_rows){.w = weight_of(p, p->model->token_embd),
                                      .ids = p->at.ids,
                                      .out = p->at.x,
                                      .n = p->n_tokens}),
               e);
}

enum status pass_rms_norm(struct pass *p, uint32_t weight, struct view x, struct view out,
                          uint32_t rows, struct err *e)
{
    return RUN(p, rms_norm,
               (&(struct op_norm){.x = x,
                                  .w = weight_at(p, weight),
                                  .out = out,
                                  .rows = rows,
                                  .n = p->model->h.n_embd,
                                  .w_rows = 1,
                                  .eps = p->model->h.norm_eps}),
               e);
}

/* A factor goes between the product and the bias, which is then added row by row. */
static enum status linear_scaled(struct pass *p, const struct linear *l, struct op_matmul *mm,
                                 struct err *e)
{
    const struct view bias = mm->bias;
    const uint32_t n_out = mm->w.n_out;
    mm->bias = (struct view){0};
    TRY(mm->n_cols <= MATVEC_COLS && !p->always_matmul ? RUN(p, matvec, mm, e)
                                                       : RUN(p, matmul, mm, e));
    TRY(RUN(p, scale, (&(struct op_scale){mm->out, mm->out, mm->n_cols * n_out, l->factor}), e));
    for (uint32_t c = 0; bias.buf && c < mm->n_cols; c++) {
        struct view row = row_at(mm->out, c, n_out);
        TRY(RUN(p, add, (&(struct op_binary){row, bias, row, n_out}), e));
    }
    return ST_OK;
}

enum status pass_linear(struct pass *p, const struct linear *l, struct view x, struct view out,
                        uint32_t n_cols, struct err *e)
{
    struct op_matmul mm = {.w = weight_of(p, l->w),
                           .x = x,
                           .bias = weight_at(p, l->bias),
                           .out = out,
                           .n_cols = n_cols};
    if (l->factor != 1.0f) return linear_scaled(p, l, &mm, e);
    if (n_cols <= MATVEC_COLS && !p->always_matmul) return RUN(p, matvec, &mm, e);
    return RUN(p, matmul, &mm, e);
}

enum status pass_add(struct pass *p, struct view x, struct view y, struct err *e)
{
    return RUN(p, add, (&(struct op_binary){x, y, x, p->n_tokens * p->model->h.n_embd}), e);
}

/* ---- attention ------------------------------------------------------------------------------ */

enum status pass_qkv(struct pass *p, uint32_t layer, struct view x, struct err *e)
{
    const struct layer_weights *l = &p->model->layers[layer];
    const struct hyper *h = &p->model->h;
    const struct scratch *at = &p->at;
    TRY(pass_linear(p, &l->q, x, at->q, p->n_tokens, e));
    TRY(pass_probe(p, SITE_Q, layer, at->q, (size_t)h->n_heads * h->head_dim, e));
    TRY(pass_linear(p, &l->k, x, at->k, p->n_tokens, e));
    TRY(pass_probe(p, SITE_K, layer, at->k, (size_t)h->n_kv_heads * h->head_dim, e));
    TRY(pass_linear(p, &l->v, x, at->v, p->n_tokens, e));
    return pass_probe(p, SITE_V, layer, at->v, (size_t)h->n_kv_heads * h->head_dim, e);
}

enum status pass_rope(struct pass *p, uint32_t layer, struct err *e)
{
    const struct hyper *h = &p->model->h;
    struct op_rope rope = {.x = p->at.q,
                           .table = p->at.rope,
                           .n_tokens = p->n_tokens,
                           .n_heads = h->n_heads,
                           .head_dim = h->head_dim,
                           .n_dims = h->rope.n_dims,
                           .pairing = h->rope.pairing};
    TRY(RUN(p, rope, &rope, e));
    TRY(pass_probe(p, SITE_Q_ROPE, layer, p->at.q, (size_t)h->n_heads * h->head_dim, e));
    rope.x = p->at.k;
    rope.n_heads = h->n_kv_heads;
    TRY(RUN(p, rope, &rope, e));
    return pass_probe(p, SITE_K_ROPE, layer, p->at.k, (size_t)h->n_kv_heads * h->head_dim, e);
}

static enum status write_cache(struct pass *p, uint32_t layer, struct err *e)
{
    const struct kv_cache *kv = p->kv;
    struct op_kv_write w = {.src = p->at.k,
                            .cells = p->at.cells,
                            .cache = {kv->layers[layer].k, 0},
                            .n_tokens = p->n_tokens,
                            .row = kv->row,
                            .type = kv->k_type};
    TRY(RUN(p, kv_write, &w, e));
    w.src = p->at.v;
    w.cache.buf = kv->layers[layer].v;
    w.type = kv->v_type;
    return RUN(p, kv_write, &w, e);
}

/* Memory of the scores, taken when a session first needs it, for the longest sequence. */
static enum status probs_room(struct pass *p, struct err *e)
{
    size_t n;
    if (p->at.probs.buf) return ST_OK;
    if (!mul_size(p->n_batch, p->model->h.n_heads, &n) || !mul_size(n, p->kv->n_cells, &n) ||
        n > UINT32_MAX)
        return fail(e, ST_RANGE,
                    "attention scores of %u tokens, %u heads and %u cells: too many; "
                    "use smaller batches or a smaller context",
                    p->n_batch, p->model->h.n_heads, p->kv->n_cells);
    return p->ops->alloc(p->be, n * sizeof(float), &p->at.probs.buf, e);
}

static enum status attention_unfused(struct pass *p, uint32_t layer, struct op_attention *a,
                                     struct err *e)
{
    const size_t cols = (size_t)a->n_heads * a->n_cells;
    TRY(probs_room(p, e));
    a->probs = p->at.probs;
    TRY(RUN(p, attn_scores, a, e));
    TRY(pass_probe(p, SITE_SCORES, layer, a->probs, cols, e));
    TRY(RUN(p, softmax,
            (&(struct op_softmax){
                .x = a->probs, .out = a->probs, .rows = a->n_tokens * a->n_heads, .n = a->n_cells}),
            e));
    TRY(pass_probe(p, SITE_WEIGHTS, layer, a->probs, cols, e));
    return RUN(p, attn_mix, a, e);
}

enum status pass_attention(struct pass *p, uint32_t layer, struct err *e)
{
    const struct hyper *h = &p->model->h;
    const struct kv_cache *kv = p->kv;
    struct op_attention a = {
        .q = p->at.q,
        .k = {kv->layers[layer].k, 0},
        .v = {kv->layers[layer].v, 0},
        .pos = p->at.pos,
        .first = p->at.first,
        .cell_pos = {kv->cell_pos, 0},
        .out = p->at.attn,
        .n_tokens = p->n_tokens,
        .n_heads = h->n_heads,
        .n_kv_heads = h->n_kv_heads,
        .head_dim = h->head_dim,
        .value_dim = h->head_dim,
        .n_cells = p->n_cells,
        .k_type = kv->k_type,
        .v_type = kv->v_type,
        .scale = h->attn_scale,
    };
    TRY(write_cache(p, layer, e));
    if (p->unfused || probe_wants(p, SITE_SCORES, layer) || probe_wants(p, SITE_WEIGHTS, layer))
        TRY(attention_unfused(p, layer, &a, e));
    else
        TRY(RUN(p, attention, &a, e));
    return pass_probe(p, SITE_ATTN, layer, p->at.attn, (size_t)h->n_heads * h->head_dim, e);
}

/* ---- feed-forward and output ----------------------------------------------------------------- */

enum status pass_ffn_swiglu(struct pass *p, uint32_t layer, struct view x, struct view out,
                            struct err *e)
{
    const struct layer_weights *l = &p->model->layers[layer];
    const struct scratch *at = &p->at;
    const uint32_t n_ff = p->model->h.n_ff;
    TRY(pass_linear(p, &l->gate, x, at->gate, p->n_tokens, e));
    TRY(pass_probe(p, SITE_GATE, layer, at->gate, n_ff, e));
    TRY(pass_linear(p, &l->up, x, at->up, p->n_tokens, e));
    TRY(pass_probe(p, SITE_UP, layer, at->up, n_ff, e));
    TRY(RUN(p, silu_mul, (&(struct op_binary){at->gate, at->up, at->gate, p->n_tokens * n_ff}), e));
    TRY(pass_probe(p, SITE_ACT, layer, at->gate, n_ff, e));
    return pass_linear(p, &l->down, at->gate, out, p->n_tokens, e);
}

/* Logits are probed on the host, where they have just arrived. */
static void probe_logits(struct pass *p, size_t n_vocab)
{
    const struct engine_probe *probe = p->probe;
    const size_t n = p->n_out * n_vocab;
    if (probe_wants(p, SITE_LOGITS, 0))
        probe->take(probe->ctx, SITE_LOGITS, 0, p->logits, p->n_out, n_vocab);
    if (!probe || !probe->give) return;
    const float *given = probe->give(probe->ctx, SITE_LOGITS, 0, p->n_out, n_vocab);
    for (size_t i = 0; given && i < n; i++) p->logits[i] = given[i];
}

enum status pass_logits(struct pass *p, struct err *e)
{
    const struct engine_model *m = p->model;
    const size_t n_embd = m->h.n_embd, n_vocab = m->h.n_vocab;
    if (p->n_out == 0) return ST_OK;
    TRY(pass_rms_norm(p, m->output_norm, row_at(p->at.x, p->out_first, n_embd), p->at.norm,
                      p->n_out, e));
    TRY(probe_rows(p, SITE_NORM, 0, p->at.norm, p->n_out, n_embd, e));
    for (uint32_t done = 0; done < p->n_out;) {
        uint32_t rows = p->n_out - done < LOGIT_ROWS ? p->n_out - done : LOGIT_ROWS;
        TRY(pass_linear(p, &m->output, row_at(p->at.norm, done, n_embd), p->at.logits, rows, e));
        TRY(p->ops->download(p->be, p->logits + done * n_vocab, p->at.logits,
                             rows * n_vocab * sizeof(float), e));
        done += rows;
    }
    probe_logits(p, n_vocab);
    return ST_OK;
}
