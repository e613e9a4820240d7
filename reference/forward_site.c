/* The value of one site from given inputs, by the operations of the forward pass; see site.h. */
#include "reference/forward_priv.h"
#include "reference/ops_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A pass over the rows that are wanted, which tracks no bounds. */
struct work {
    const struct ref_site_job *j;
    struct ref_site site;
    struct ref_pass p;
    struct ref_err e;
    struct ref_vals out; /* the caller's */
};

static bool work_open(struct work *k, const struct ref_site_job *j, double *out)
{
    *k = (struct work){.j = j,
                       .site = ref_site_of(j->m, j->site, j->layer),
                       .p = {.m = j->m, .e = &k->e, .rows = j->rows},
                       .out = {.x = out, .cols = ref_site_columns(j->m, j->site, j->n_tokens)}};
    k->p.rope = k->p.rope_windowed = ref_model_hyper(j->m, j->layer).rope;
    k->p.pos = ref_blocks_alloc(&k->p.blocks, j->n_tokens, sizeof *k->p.pos);
    for (size_t i = 0; k->p.pos && i < j->rows; i++)
        k->p.pos[i] = (int32_t)(j->n_tokens - j->rows + i);
    return k->p.pos != NULL;
}

/* Operations of the pass write over what they take: this is a copy of input i. */
static bool input_copy(struct work *k, size_t i, struct ref_vals *v)
{
    if (!ref_pass_alloc(&k->p, k->out.cols, v)) return false;
    memcpy(v->x, k->j->in[i], k->p.rows * v->cols * sizeof *v->x);
    return true;
}

static void take_input(struct work *k, size_t i)
{
    memcpy(k->out.x, k->j->in[i], k->p.rows * k->out.cols * sizeof *k->out.x);
}

/* ---- products -------------------------------------------------------------------------------- */

struct product {
    const struct ref_site_job *j;
    const struct ref_weight *w;
    double *y, *mag;
};

/* Row i of the weights with all vectors. The row is NaN where there is no memory to decode it. */
static void product_row(void *ctx, size_t i)
{
    const struct product *p = ctx;
    const struct ref_weight *w = p->w;
    const uint8_t *data = w->data + i * type_bytes(type_by_id(w->type), w->n_in);
    const double bias = w->bias ? (double)w->bias[i] : 0;
    float *row = malloc(w->n_in * sizeof *row);
    double *wide = malloc(w->n_in * sizeof *wide);
    for (size_t r = 0; r < p->j->rows; r++) p->y[r * w->n_out + i] = NAN;
    if (row && wide && ref_decode(w->type, data, w->n_in, row)) {
        for (size_t c = 0; c < w->n_in; c++) wide[c] = (double)row[c];
        for (size_t r = 0; r < p->j->rows; r++) {
            const double *x = p->j->in[0] + r * w->n_in;
            const double dot = p->j->dot ? p->j->dot(row, x, w->n_in) : ref_dot(wide, x, w->n_in);
            p->y[r * w->n_out + i] = w->scale * dot + bias;
            if (p->mag)
                p->mag[r * w->n_out + i] =
                    fabs(w->scale) * ref_dot_abs(wide, x, w->n_in) + fabs(bias);
        }
    }
    free(row);
    free(wide);
}

static bool linear(struct work *k, double *mag)
{
    const struct ref_model *m = k->j->m;
    if (!k->site.weight.data) return false;
    struct product p = {k->j, &k->site.weight, k->out.x, mag};
    ref_parallel(k->site.weight.n_out, product_row, &p);
    if (k->j->site != SITE_LOGITS) return true;
    ref_pass_finish(&k->p, &k->out);
    for (size_t i = 0; mag && i < k->p.rows * k->out.cols; i++)
        mag[i] = mag[i] * fabs(m->logit_scale) + m->logit_cap;
    return true;
}

double ref_site_finish(const struct ref_model *m, enum site site, double y)
{
    struct ref_pass p = {.m = m, .rows = 1};
    struct ref_vals v = {.x = &y, .cols = 1};
    if (site == SITE_LOGITS) ref_pass_finish(&p, &v);
    return y;
}

/* ---- attention ------------------------------------------------------------------------------- */

/* Scores, or the whole of attention. */
static bool attention(struct work *k)
{
    const struct ref_site_job *j = k->j;
    const struct ref_shape *s = &j->m->shape;
    const struct ref_hyper h = ref_model_hyper(j->m, j->layer);
    const bool scores = j->site == SITE_SCORES;
    int32_t *cells = ref_blocks_alloc(&k->p.blocks, j->n_tokens, sizeof *cells);
    int32_t *all = ref_blocks_alloc(&k->p.blocks, j->n_tokens, sizeof *all);
    struct ref_vals weights, mixed;
    if (!cells || !all || !ref_pass_alloc(&k->p, s->n_heads * j->n_tokens, &weights) ||
        !ref_pass_alloc(&k->p, (size_t)s->n_heads * s->head_dim, &mixed))
        return false;
    for (size_t i = 0; i < j->n_tokens; i++) {
        cells[i] = (int32_t)i;
        all[i] = (int32_t)j->n_tokens;
    }
    ref_attention(&(struct ref_attention){.q = j->in[0],
                                          .k = j->in[1],
                                          .v = scores ? j->in[1] : j->in[2],
                                          .pos = j->show_hidden ? all : k->p.pos,
                                          .cell_pos = cells,
                                          .n_tokens = j->rows,
                                          .n_heads = s->n_heads,
                                          .n_kv_heads = s->n_kv_heads,
                                          .head_dim = s->head_dim,
                                          .n_cells = j->n_tokens,
                                          .scale = h.kq_scale,
                                          .cap = h.attn_cap,
                                          .window = h.window,
                                          .sinks = k->site.sinks,
                                          .scores = scores ? k->out.x : NULL,
                                          .weights = weights.x,
                                          .out = scores ? mixed.x : k->out.x});
    return true;
}

/* A sink is one more score of its head, of which nothing is kept. */
static bool softmax(struct work *k)
{
    const size_t n = k->j->n_tokens, n_heads = k->j->m->shape.n_heads;
    const uint32_t window = ref_model_hyper(k->j->m, k->j->layer).window;
    double *z = ref_blocks_alloc(&k->p.blocks, 2 * (n + 1), sizeof *z), *y = z + n + 1;
    if (!z) return false;
    for (size_t i = 0; i < k->p.rows * n_heads; i++) {
        const size_t pos = (size_t)k->p.pos[i / n_heads];
        for (size_t c = 0; c < n; c++) {
            const bool seen = c <= pos && (window == 0 || pos - c < window);
            z[c] = seen ? k->j->in[0][i * n + c] : -INFINITY;
        }
        z[n] = k->site.sinks ? (double)k->site.sinks[i % n_heads] : -INFINITY;
        ref_softmax(z, 1, n + 1, y);
        memcpy(k->out.x + i * n, y, n * sizeof *y);
    }
    return true;
}

/* ---- the rest -------------------------------------------------------------------------------- */

static bool embed(struct work *k)
{
    struct ref_vals room;
    if (!ref_pass_alloc(&k->p, k->out.cols, &room)) return false;
    ref_pass_tokens(&k->p, k->j->tokens + k->j->n_tokens - k->j->rows, &k->out, &room);
    return true;
}

static bool norm(struct work *k)
{
    if (!k->site.norm.w) return false;
    take_input(k, 0);
    ref_pass_norm(&k->p, &k->site.norm, &k->out, &k->out);
    return true;
}

static bool add(struct work *k, double *mag)
{
    struct ref_vals branch;
    if (!input_copy(k, 0, &branch)) return false;
    take_input(k, 1);
    const double factor = k->j->m->residual_scale;
    for (size_t i = 0; mag && i < k->p.rows * k->out.cols; i++)
        mag[i] = fabs(factor * branch.x[i]) + fabs(k->out.x[i]);
    ref_pass_add(&k->p, &branch, factor, &k->out);
    return true;
}

static bool activate(struct work *k)
{
    struct ref_vals up;
    const bool gated = k->site.n_in == 2;
    if (gated && !input_copy(k, 1, &up)) return false;
    take_input(k, 0);
    ref_pass_activate(&k->p, k->site.act, gated ? &up : &k->out, gated ? &k->out : NULL);
    return true;
}

static bool compute(struct work *k, double *mag)
{
    switch (k->site.kind) {
    case REF_SITE_SEVERAL:
        return false;
    case REF_SITE_EMBED:
        return embed(k);
    case REF_SITE_NORM:
        return norm(k);
    case REF_SITE_LINEAR:
        return linear(k, mag);
    case REF_SITE_ROPE:
        take_input(k, 0);
        ref_pass_turn(&k->p, k->j->site, k->j->layer, &k->out);
        return true;
    case REF_SITE_SCORES:
    case REF_SITE_ATTENTION:
        return attention(k);
    case REF_SITE_SOFTMAX:
        return softmax(k);
    case REF_SITE_ADD:
        return add(k, mag);
    case REF_SITE_ACT:
        return activate(k);
    }
    return false;
}

bool ref_site_value(const struct ref_site_job *j, double *out, double *mag)
{
    struct work k;
    bool ok = work_open(&k, j, out);
    const size_t n = j->rows * k.out.cols;
    const enum ref_site_kind kind = k.site.kind;
    for (size_t i = 0; mag && i < n; i++) mag[i] = 0;
    ok = ok && compute(&k, mag);
    ref_pass_free(&k.p);
    if (kind == REF_SITE_NORM || kind == REF_SITE_SOFTMAX || kind == REF_SITE_ACT)
        for (size_t i = 0; ok && mag && i < n; i++) mag[i] = fabs(out[i]);
    return ok;
}
