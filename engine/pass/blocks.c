/* Building blocks of the forward pass: the probe, embedding, norms, products, logits. */
#include "engine/pass/pass.h"

#include <stdlib.h>

struct view pass_weight(const struct pass *p, uint32_t index)
{
    return (struct view){index ? p->weights[index] : NULL, 0};
}

static struct weight weight_of(const struct pass *p, uint32_t index)
{
    const struct model_tensor *t = &p->model->tensors[index];
    return (struct weight){pass_weight(p, index), t->type->id, t->n_in, t->n_out};
}

/* Rows of n f32 values as a table that rows can be looked up in. */
static struct weight rows_of(struct view rows, uint32_t n, uint32_t n_rows)
{
    return (struct weight){rows, TYPE_F32, n, n_rows};
}

/* The row-th row of rows of n f32 values. */
static struct view row_at(struct view v, size_t row, size_t n)
{
    return (struct view){v.buf, v.off + row * n * sizeof(float)};
}

/* ---- probe --------------------------------------------------------------------------------- */

bool pass_probe_wants(const struct pass *p, enum site site, uint32_t layer)
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
    if (pass_probe_wants(p, site, layer)) {
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

/* ---- sums and factors ------------------------------------------------------------------------ */

enum status pass_add(struct pass *p, struct view x, struct view y, struct err *e)
{
    return RUN(p, add, (&(struct op_binary){x, y, x, p->n_tokens * p->model->h.n_embd}), e);
}

enum status pass_scale(struct pass *p, struct view x, size_t n, float factor, struct err *e)
{
    if (factor == 1.0f) return ST_OK;
    return RUN(p, scale, (&(struct op_scale){x, x, (uint32_t)n, factor}), e);
}

/* ---- embedding, norms ------------------------------------------------------------------------ */

enum status pass_embed(struct pass *p, struct err *e)
{
    const struct engine_model *m = p->model;
    struct op_get_rows get = {
        .w = weight_of(p, m->token_embd), .ids = p->at.ids, .out = p->at.x, .n = p->n_tokens};
    TRY(RUN(p, get_rows, &get, e));
    TRY(pass_scale(p, p->at.x, (size_t)p->n_tokens * m->h.n_embd, m->h.embd_scale, e));
    if (!m->pos_embd) return ST_OK;
    get = (struct op_get_rows){
        .w = weight_of(p, m->pos_embd), .ids = p->at.seq_pos, .out = p->at.proj, .n = p->n_tokens};
    TRY(RUN(p, get_rows, &get, e));
    return pass_add(p, p->at.x, p->at.proj, e);
}

enum status pass_norm(struct pass *p, const struct norm *n, struct view x, struct view out,
                      size_t groups, struct err *e)
{
    struct op_norm a = {.x = x,
                        .w = pass_weight(p, n->w),
                        .b = pass_weight(p, n->b),
                        .out = out,
                        .rows = (uint32_t)groups,
                        .n = n->n,
                        .w_rows = n->rows,
                        .eps = p->model->h.norm_eps};
    return p->model->h.norm == NORM_RMS ? RUN(p, rms_norm, &a, e) : RUN(p, layer_norm, &a, e);
}

/* ---- products -------------------------------------------------------------------------------- */

static enum status multiply(struct pass *p, const struct op_matmul *mm, struct err *e)
{
    return mm->n_cols <= MATVEC_COLS && !p->always_matmul ? RUN(p, matvec, mm, e)
                                                          : RUN(p, matmul, mm, e);
}

/* A factor goes between the product and the bias, which is then added row by row. */
static enum status linear_scaled(struct pass *p, float factor, struct op_matmul *mm, struct err *e)
{
    const struct view bias = mm->bias;
    const uint32_t n_out = mm->w.n_out;
    mm->bias = (struct view){0};
    TRY(multiply(p, mm, e));
    TRY(pass_scale(p, mm->out, (size_t)mm->n_cols * n_out, factor, e));
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
                           .bias = pass_weight(p, l->bias),
                           .out = out,
                           .n_cols = n_cols};
    return l->factor == 1.0f ? multiply(p, &mm, e) : linear_scaled(p, l->factor, &mm, e);
}

/* Factors go between the products and the biases, both looked up by the matrix of each slot. */
static enum status stack_scaled(struct pass *p, const struct stack *s, struct op_matmul_id *mm,
                                struct err *e)
{
    const uint32_t slots = mm->n_tokens * mm->n_used;
    const struct view bias = mm->bias;
    struct op_get_rows get = {
        .w = weight_of(p, s->factors), .ids = mm->ids, .out = p->at.moe.factors, .n = slots};
    struct op_scale_rows scale = {mm->out, p->at.moe.factors, mm->out, slots, s->n_out};
    mm->bias = (struct view){0};
    TRY(RUN(p, matmul_id, mm, e));
    TRY(RUN(p, get_rows, &get, e));
    TRY(RUN(p, scale_rows, &scale, e));
    if (!bias.buf) return ST_OK;
    get.w = rows_of(bias, s->n_out, s->n_mats);
    get.out = p->at.moe.biases;
    TRY(RUN(p, get_rows, &get, e));
    return RUN(p, add, (&(struct op_binary){mm->out, get.out, mm->out, slots * s->n_out}), e);
}

enum status pass_stack(struct pass *p, const struct stack *s, struct view x, bool x_per_slot,
                       struct view ids, uint32_t n_used, struct view out, struct err *e)
{
    struct op_matmul_id mm = {.w = weight_of(p, s->w),
                              .x = x,
                              .ids = ids,
                              .bias = pass_weight(p, s->bias),
                              .out = out,
                              .n_tokens = p->n_tokens,
                              .n_used = n_used,
                              .n_experts = s->n_mats,
                              .x_per_slot = x_per_slot};
    return s->factors ? stack_scaled(p, s, &mm, e) : RUN(p, matmul_id, &mm, e);
}

/* ---- output ---------------------------------------------------------------------------------- */

/* Logits are probed on the host, where they have just arrived. */
static void probe_logits(struct pass *p, size_t n_vocab)
{
    const struct engine_probe *probe = p->probe;
    const size_t n = p->n_out * n_vocab;
    if (pass_probe_wants(p, SITE_LOGITS, 0))
        probe->take(probe->ctx, SITE_LOGITS, 0, p->logits, p->n_out, n_vocab);
    if (!probe || !probe->give) return;
    const float *given = probe->give(probe->ctx, SITE_LOGITS, 0, p->n_out, n_vocab);
    for (size_t i = 0; given && i < n; i++) p->logits[i] = given[i];
}

/* at.norm = the norm of the rows that are wanted. */
static enum status norm_wanted(struct pass *p, struct err *e)
{
    const struct engine_model *m = p->model;
    struct view rows = row_at(p->at.x, p->out_first, m->h.n_embd);
    if (p->gathered) {
        struct op_get_rows get = {.w = rows_of(p->at.x, m->h.n_embd, p->n_tokens),
                                  .ids = p->at.out_rows,
                                  .out = p->at.proj,
                                  .n = p->n_out};
        TRY(RUN(p, get_rows, &get, e));
        rows = p->at.proj;
    }
    TRY(pass_norm(p, &m->output_norm, rows, p->at.norm, p->n_out, e));
    return probe_rows(p, SITE_NORM, 0, p->at.norm, p->n_out, m->h.n_embd, e);
}

enum status pass_logits(struct pass *p, struct err *e)
{
    const struct engine_model *m = p->model;
    const size_t n_embd = m->h.n_embd, n_vocab = m->h.n_vocab;
    const struct view logits = p->at.logits;
    if (p->n_out == 0) return ST_OK;
    TRY(norm_wanted(p, e));
    for (uint32_t done = 0; done < p->n_out;) {
        uint32_t rows = p->n_out - done < LOGIT_ROWS ? p->n_out - done : LOGIT_ROWS;
        struct op_scale cap = {logits, logits, rows * m->h.n_vocab, m->h.logit_cap};
        TRY(pass_linear(p, &m->output, row_at(p->at.norm, done, n_embd), logits, rows, e));
        TRY(pass_scale(p, logits, rows * n_vocab, m->h.logit_scale, e));
        if (m->h.logit_cap != 0.0f) TRY(RUN(p, softcap, &cap, e));
        TRY(p->ops->download(p->be, p->logits + done * n_vocab, logits,
                             rows * n_vocab * sizeof(float), e));
        done += rows;
    }
    probe_logits(p, n_vocab);
    return ST_OK;
}
