/* ref_forward: checks the batch, makes the places, runs the model, hands out sites. */
#include "reference/forward_priv.h"

#include <math.h>
#include <stdlib.h>

static double *place(struct ref_pass *p, size_t cols)
{
    const size_t n = cols > 0 && p->rows > SIZE_MAX / cols ? SIZE_MAX : p->rows * cols;
    double *values = ref_blocks_alloc(&p->blocks, n, sizeof *values);
    if (!values) ref_fail(p->e, "out of memory: activations of %zu tokens x %zu", p->rows, cols);
    return values;
}

/* Makes room in local and dev. What they hold is lost: nothing is allocated between an operation
 * and its site. */
static bool widen(struct ref_pass *p, size_t cols)
{
    const size_t n = p->rows * cols;
    if (n <= p->capacity || !p->track) return true;
    free(p->local);
    free(p->dev);
    free(p->entering);
    free(p->noise);
    p->local = calloc(n, sizeof *p->local);
    p->dev = calloc(n, sizeof *p->dev);
    p->entering = calloc(n, sizeof *p->entering);
    p->noise = calloc(n, sizeof *p->noise);
    p->capacity = n;
    if (p->local && p->dev && p->entering && p->noise) return true;
    return ref_fail(p->e, "out of memory: bounds of %zu tokens x %zu", p->rows, cols);
}

bool ref_pass_alloc(struct ref_pass *p, size_t cols, struct ref_vals *out)
{
    *out = (struct ref_vals){.x = place(p, cols), .cols = cols};
    if (out->x && p->track) out->var = place(p, cols);
    return out->x && (out->var || !p->track) && widen(p, cols);
}

struct ref_blocks ref_pass_begin(struct ref_pass *p)
{
    const struct ref_blocks outer = p->blocks;
    p->blocks = (struct ref_blocks){0};
    return outer;
}

void ref_pass_end(struct ref_pass *p, struct ref_blocks outer)
{
    ref_blocks_free(&p->blocks);
    p->blocks = outer;
}

bool ref_pass_cancelled(struct ref_pass *p, uint32_t layer)
{
    if (!p->f->cancel || !p->f->cancel(p->f->ctx)) return false;
    ref_fail(p->e, "cancelled before layer %u", layer);
    return true;
}

bool ref_pass_wants(const struct ref_pass *p, enum site site, uint32_t layer)
{
    return !p->quiet && p->f->take && (!p->f->want || p->f->want(p->f->ctx, site, layer));
}

bool ref_pass_exact(struct ref_pass *p, const struct ref_vals *in, struct ref_vals *out)
{
    *out = (struct ref_vals){.x = in->x, .var = place(p, in->cols), .cols = in->cols};
    return out->var != NULL;
}

/* Roots of the variances; without bound where an expert might not have been chosen. */
static void roots(const struct ref_pass *p, const double *var, size_t cols, double *dev)
{
    for (size_t i = 0; i < p->rows * cols; i++)
        dev[i] = p->uncertain[i / cols] ? INFINITY : sqrt(var[i]);
}

void ref_pass_site(struct ref_pass *p, enum site site, uint32_t layer, const struct ref_vals *v)
{
    if (!ref_pass_wants(p, site, layer)) return;
    roots(p, v->var, v->cols, p->dev);
    p->f->take(p->f->ctx, &(struct ref_values){.site = site,
                                               .layer = layer,
                                               .value = v->x,
                                               .local = p->local,
                                               .dev = p->dev,
                                               .rows = p->rows,
                                               .cols = v->cols});
}

void ref_pass_site_local(struct ref_pass *p, enum site site, uint32_t layer,
                         const struct ref_vals *v, const struct ref_vals *exact)
{
    if (!ref_pass_wants(p, site, layer)) return;
    for (size_t i = 0; i < p->rows * v->cols; i++) p->local[i] = sqrt(exact->var[i]);
    ref_pass_site(p, site, layer, v);
}

static bool cache_check(const struct ref_pass *p, const char *which, enum tensor_type t,
                        uint32_t head_dim)
{
    const struct type_spec *spec = type_by_id((int64_t)t);
    if (!spec || !ref_cache_type(t))
        return ref_refuse(p->e, "a KV cache of type %s is not there",
                          spec ? spec->name : "unknown");
    if (head_dim % spec->block_elems == 0) return true;
    return ref_refuse(p->e, "%s heads of %u values do not divide into blocks of %s", which,
                      head_dim, spec->name);
}

static bool batch_check(const struct ref_pass *p)
{
    const struct ref_forward *f = p->f;
    const struct ref_shape *s = &p->m->shape;
    const uint32_t n_ctx = f->n_ctx ? f->n_ctx : s->n_ctx;
    if (!cache_check(p, "K", f->k_type, s->head_dim)) return false;
    if (!cache_check(p, "V", f->v_type, s->value_dim)) return false;
    /* where V is a part of K */
    if (s->value_dim != s->head_dim && !cache_check(p, "V", f->k_type, s->value_dim)) return false;
    for (size_t i = 0, row = 0; i < f->n_seqs; i++) {
        if (f->lengths[i] > n_ctx)
            return ref_fail(p->e, "sequence %zu has %zu tokens, the context %u", i, f->lengths[i],
                            n_ctx);
        if (p->m->pos_embd.data && f->lengths[i] > p->m->pos_embd.n_out)
            return ref_fail(p->e, "sequence %zu has %zu tokens, position_embd %zu rows", i,
                            f->lengths[i], p->m->pos_embd.n_out);
        for (size_t t = 0; t < f->lengths[i]; t++, row++)
            if (f->tokens[row] < 0 || (uint32_t)f->tokens[row] >= s->n_vocab)
                return ref_fail(p->e, "token %zu of sequence %zu is %d, the vocabulary has %u", t,
                                i, (int)f->tokens[row], s->n_vocab);
    }
    return true;
}

/* The tables for long and short contexts are chosen once, by the context that there is room for
 * and not by what is in it. */
static void choose_factors(struct ref_pass *p)
{
    const struct ref_model *m = p->m;
    const uint32_t n_ctx = p->f->n_ctx ? p->f->n_ctx : m->shape.n_ctx;
    p->rope = m->rope;
    p->rope_windowed = m->rope_windowed;
    if (m->factors_long)
        p->rope.factors = p->rope_windowed.factors =
            n_ctx > m->rope.n_ctx_orig ? m->factors_long : m->factors_short;
}

static bool pass_places(struct ref_pass *p)
{
    for (size_t i = 0; i < p->f->n_seqs; i++) p->rows += p->f->lengths[i];
    p->pos = ref_blocks_alloc(&p->blocks, p->rows, sizeof *p->pos);
    p->uncertain = ref_blocks_alloc(&p->blocks, p->rows, sizeof *p->uncertain);
    if (!p->pos || !p->uncertain) return ref_fail(p->e, "out of memory: %zu positions", p->rows);
    for (size_t i = 0, row = 0; i < p->f->n_seqs; i++)
        for (size_t t = 0; t < p->f->lengths[i]; t++) p->pos[row++] = (int32_t)t;
    return widen(p, p->m->shape.n_vocab);
}

bool ref_forward(const struct ref_model *m, const struct ref_forward *f, double *logits,
                 double *dev, struct ref_err *e)
{
    struct ref_pass p = {.m = m, .f = f, .e = e, .track = dev || f->take};
    struct ref_vals out = {.x = logits, .var = dev, .cols = m->shape.n_vocab};
    bool ok = batch_check(&p) && pass_places(&p);
    choose_factors(&p);
    if (ok && p.track && !dev) ok = (out.var = place(&p, out.cols)) != NULL;
    ok = ok && ref_pass_model(&p, &out);
    if (ok && dev) roots(&p, dev, out.cols, dev);
    ref_blocks_free(&p.blocks);
    free(p.local);
    free(p.dev);
    free(p.entering);
    free(p.noise);
    return ok;
}
