/* See locate_compare.h. */
#include "locate/foreign.h"
#include "judge/bounds.h"
#include "locate/cause.h"
#include "locate/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct variant *foreign_variant(enum tensor_type kv)
{
    static const struct variant by_cache[] = {
#define VALUES(kv) {"values", "as they were recorded", false, true, false, 0, kv}
        VALUES(TYPE_F32),  VALUES(TYPE_F16),  VALUES(TYPE_BF16),  VALUES(TYPE_Q8_0),
        VALUES(TYPE_Q4_0), VALUES(TYPE_Q5_1), VALUES(TYPE_IQ4_NL)
#undef VALUES
    };
    size_t i = sizeof by_cache / sizeof *by_cache;
    while (--i > 0)
        if (by_cache[i].kv == kv) break;
    return &by_cache[i];
}

static bool is_exact(const struct precision *p)
{
    return p->activations == TYPE_F64 || p->activations == TYPE_F32;
}

/* ---- truth at a declared precision ----------------------------------------------------------- */

static double rms_difference(const double *a, const double *b, size_t n)
{
    double sum = 0;
    size_t finite = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i]) || !isfinite(b[i])) continue;
        sum += (a[i] - b[i]) * (a[i] - b[i]);
        finite++;
    }
    return finite ? sqrt(sum / (double)finite) : 0;
}

static double rms(const double *a, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += isfinite(a[i]) ? a[i] * a[i] : 0;
    return n ? sqrt(sum / (double)n) : 0;
}

/* What the truth at a declared precision is made of: the reference without and with the
 * roundings of inputs, and, where sums are in f16, two passes in double and in f16 sums. */
struct parts {
    struct recording exact, rounded, even, low;
    bool sums; /* even and low are there */
};

/* Scores of tokens to come, which logs show: q k from the reference's Q and K, and its bound. */
static void fill_hidden(const struct site_model *m, const struct recording *r,
                        const struct record_site *s, double *value, double *bound)
{
    const struct ref_site f = ref_site_of(m->ref, SITE_SCORES, s->layer);
    const struct record_site *q = record_find(r, f.in[0], s->layer);
    const struct record_site *k = record_find(r, f.in[1], s->layer);
    const struct ref_hyper h = ref_model_hyper(m->ref, s->layer);
    const size_t n = s->rows, heads = m->shape.n_heads, d = m->shape.head_dim;
    const size_t share = heads / m->shape.n_kv_heads;
    if (m->hyper.latent || !q || !k) return;
    for (size_t i = 0; i < n * s->cols; i++) {
        const size_t head = i % s->cols / n, cell = i % n;
        const size_t a = (i / s->cols * heads + head) * d;
        const size_t b = (cell * m->shape.n_kv_heads + head / share) * d;
        double z = 0, var = 0;
        if (isfinite(value[i])) continue;
        for (size_t e = 0; e < d; e++) {
            const double kd = k->value[b + e] * q->dev[a + e], qd = q->value[a + e] * k->dev[b + e];
            z += q->value[a + e] * k->value[b + e];
            var += kd * kd + qd * qd;
        }
        value[i] = h.kq_scale * z;
        if (h.attn_cap != 0) value[i] = h.attn_cap * tanh(value[i] / h.attn_cap);
        bound[i] = bound_hidden_score(h.kq_scale, var);
    }
}

/* One site: the value of a pass that rounds as the engine does, and how far from it an engine
 * may be. */
static enum status add_site(struct recording *out, const struct site_model *m,
                            const struct parts *p, const struct record_site *s, bool show_hidden,
                            struct err *e)
{
    const size_t n = s->rows * s->cols;
    const struct record_site *exact = record_find(&p->exact, s->site, s->layer);
    const struct record_site *even = p->sums ? record_find(&p->even, s->site, s->layer) : NULL;
    const struct record_site *low = p->sums ? record_find(&p->low, s->site, s->layer) : NULL;
    const double moved = even && low ? rms_difference(low->value, even->value, n) : 0;
    const double typical = rms(s->dev, n);
    double *bound = alloc_array(2 * n, sizeof *bound), *value = bound + n;
    if (!bound) return fail(e, ST_NOMEM, "no memory for %zu bounds", n);
    for (size_t i = 0; i < n; i++) {
        const double shape = typical > 0 ? s->dev[i] / typical : 1;
        value[i] = s->value[i];
        bound[i] = bound_foreign_value(s->dev[i], exact->dev[i], moved, shape);
    }
    if (show_hidden && s->site == SITE_SCORES) fill_hidden(m, &p->rounded, s, value, bound);
    record_reference(out, &(struct ref_values){.site = s->site,
                                               .layer = s->layer,
                                               .value = value,
                                               .local = exact->local,
                                               .dev = bound,
                                               .rows = s->rows,
                                               .cols = s->cols});
    free(bound);
    return out->err.st == ST_OK ? ST_OK : fail(e, out->err.st, "%s", out->err.text);
}

static bool sums_in_f16(const struct site_model *m)
{
    bool any = false;
    for (size_t i = 0; m->whole && i < m->g->n_tensors; i++)
        any = any || m->g->tensors[i].type->id == TYPE_F16;
    return any;
}

static enum status run_parts(struct parts *p, const struct site_model *m,
                             const struct compare_options *o, struct err *e)
{
    struct locate_options lo = {
        .tokens = o->tokens, .n_tokens = o->n_tokens, .progress = o->progress, .cancel = o->cancel};
    struct precision low = o->precision, even = o->precision;
    low.sum = SUM_OWN;
    even.sum = SUM_F64;
    enum status st = locate_reference(&p->exact, m->ref, &lo, o->precision.kv, e);
    lo.activations = o->precision.activations;
    if (st == ST_OK) st = locate_reference(&p->rounded, m->ref, &lo, o->precision.kv, e);
    p->sums = sums_in_f16(m) && o->precision.activations != TYPE_BF16;
    if (st == ST_OK && p->sums)
        st = site_forward(m, o->tokens, o->n_tokens, &even, false, &p->even, NULL, e);
    if (st == ST_OK && p->sums)
        st = site_forward(m, o->tokens, o->n_tokens, &low, false, &p->low, NULL, e);
    return st;
}

enum status foreign_truth(struct recording *out, const struct site_model *m,
                          const struct compare_options *o, bool show_hidden, struct err *e)
{
    const struct locate_options lo = {
        .tokens = o->tokens, .n_tokens = o->n_tokens, .progress = o->progress, .cancel = o->cancel};
    if (is_exact(&o->precision) && !show_hidden)
        return locate_reference(out, m->ref, &lo, o->precision.kv, e);
    struct parts p = {{.fd = -1}, {.fd = -1}, {.fd = -1}, {.fd = -1}, false};
    enum status st = run_parts(&p, m, o, e);
    if (st == ST_OK) st = record_open(out, p.exact.n_layers, p.exact.n_heads, o->n_tokens, e);
    for (size_t i = 0; i < p.rounded.n && st == ST_OK; i++)
        st = add_site(out, m, &p, &p.rounded.sites[i], show_hidden, e);
    record_close(&p.exact);
    record_close(&p.rounded);
    record_close(&p.even);
    record_close(&p.low);
    return st;
}

/* ---- operations from the engine's own inputs ------------------------------------------------- */

static bool needs_all_rows(enum site site, size_t i)
{
    const enum ref_site_kind kind = ref_site_of(NULL, site, 0).kind;
    return (kind == REF_SITE_SCORES || kind == REF_SITE_ATTENTION) && i > 0;
}

static void free_inputs(double *in[REF_SITE_INPUTS])
{
    for (size_t i = 0; i < REF_SITE_INPUTS; i++) free(in[i]);
}

/* The rows of a recorded site that belong to the last `rows` tokens, in double; NULL: not there. */
static double *input_of(const struct recording *r, enum site site, uint32_t layer, size_t rows)
{
    const struct record_site *s = record_find(r, site, layer);
    if (!s || !s->got || s->rows < rows) return NULL;
    double *x = alloc_array(rows * s->cols, sizeof *x);
    const float *from = s->got + (s->rows - rows) * s->cols;
    for (size_t i = 0; x && i < rows * s->cols; i++) x[i] = (double)from[i];
    return x;
}

/* Terms that an operation sums up. */
static size_t terms(const struct site_job *j)
{
    const struct ref_site made = ref_site_of(j->m->ref, j->site, j->layer);
    switch (made.kind) {
    case REF_SITE_LINEAR:
        return made.weight.data ? made.weight.n_in : 1;
    case REF_SITE_NORM:
        return j->m->shape.n_embd;
    case REF_SITE_SOFTMAX:
        return j->n_tokens;
    default:
        return 1;
    }
}

/* Bound of element i of one operation of an engine from outside, made from the engine's own
 * inputs. */
static double bound_of(const struct site_job *j, const struct record_site *want, size_t i, size_t n,
                       double mag, double top)
{
    const size_t cols = want->cols, row = j->n_tokens - j->rows + i / cols;
    double bound = bound_foreign_op(want->local[row * cols + i % cols], n, mag);
    if (ref_site_of(NULL, j->site, 0).kind == REF_SITE_ROPE) bound += bound_foreign_angle(row, top);
    return bound;
}

static enum status judge_own(struct finding *f, const struct site_job *j,
                             const struct record_site *want, const struct record_site *got,
                             double *value, struct err *e)
{
    const size_t n = j->rows * want->cols;
    double *mag = alloc_array(3 * n, sizeof *mag), *bound = mag + n, top = 0;
    struct site_job with_borders = *j;
    with_borders.border = mag + 2 * n;
    if (!mag) return fail(e, ST_NOMEM, "no memory for %zu values", n);
    if (site_compute(&with_borders, value, mag)) {
        for (size_t i = 0; i < n; i++)
            if (isfinite(value[i])) top = fmax(top, fabs(value[i]));
        const size_t n_terms = terms(j);
        for (size_t i = 0; i < n; i++)
            bound[i] = bound_of(j, want, i, n_terms, mag[i], top) + with_borders.border[i];
        f->local = (struct case_result){.nmse_worst_row = NAN};
        compare_within(&f->local, got->got, value, bound, j->rows, want->cols);
        f->has_local = true;
    }
    free(mag);
    return ST_OK;
}

/* Fills the local part of a finding from what the engine had. value: room for the site. */
static enum status judge_from_inputs(struct finding *f, const struct site_model *m,
                                     const struct recording *truth, const struct recording *got,
                                     const struct compare_options *o, double **value, struct err *e)
{
    const struct record_site *g = record_find(got, f->site, f->layer);
    const struct record_site *w = record_find(truth, f->site, f->layer);
    double *in[REF_SITE_INPUTS] = {NULL};
    struct site_job j = {.m = m,
                         .site = f->site,
                         .layer = f->layer,
                         .tokens = o->tokens,
                         .n_tokens = o->n_tokens,
                         .rows = g->rows,
                         .precision = o->precision};
    bool have = true;
    const struct ref_site fact = ref_site_of(m->ref, f->site, f->layer);
    for (size_t i = 0; i < fact.n_in; i++) {
        const size_t rows = needs_all_rows(f->site, i) ? o->n_tokens : g->rows;
        j.in[i] = in[i] = input_of(got, fact.in[i], fact.in_layer[i], rows);
        have = have && in[i];
    }
    enum status st = ST_OK;
    free(*value);
    *value = alloc_array(o->n_tokens * w->cols, sizeof **value);
    if (!*value)
        st = fail(e, ST_NOMEM, "no memory for %zu x %zu values", g->rows, w->cols);
    else if (have)
        st = judge_own(f, &j, w, g, *value, e);
    free_inputs(in);
    return st;
}

/* The values of all tokens from those of the last ones; the others are NaN: not seen. */
static double *padded(const struct record_site *s, const double *value, size_t n_tokens)
{
    const size_t hidden = (n_tokens - s->rows) * s->cols;
    double *x = alloc_array(n_tokens * s->cols, sizeof *x);
    for (size_t k = 0; x && k < n_tokens * s->cols; k++)
        x[k] = k < hidden ? NAN : value ? value[k - hidden] : (double)s->got[k - hidden];
    return x;
}

/* Why: the engine's values are the inputs, what should have come of them is the truth. */
static void explain(struct locate *l, const struct finding *f, const struct recording *got,
                    const double *value, const struct compare_options *o)
{
    struct recording own;
    struct err e = {0};
    const struct record_site *bad = record_find(got, f->site, f->layer);
    if (record_open(&own, got->n_layers, got->n_heads, o->n_tokens, &e) != ST_OK) return;
    for (size_t i = 0; i < got->n; i++) {
        const struct record_site *s = &got->sites[i];
        double *x = padded(s, s == bad ? value : NULL, o->n_tokens);
        if (!x) continue;
        record_reference(&own, &(struct ref_values){.site = s->site,
                                                    .layer = s->layer,
                                                    .value = x,
                                                    .rows = o->n_tokens,
                                                    .cols = s->cols});
        free(x);
    }
    struct suspect s = {.m = &l->model,
                        .site = f->site,
                        .layer = f->layer,
                        .tokens = o->tokens,
                        .n_tokens = o->n_tokens,
                        .want = &own,
                        .got = bad,
                        .precision = o->precision};
    cause_explain(&s, l->fault.cause, sizeof l->fault.cause, &l->fault.unexplained);
    record_close(&own);
}

enum status foreign_sites(struct locate *l, struct variant_result *v, const struct recording *truth,
                          const struct recording *got, const struct compare_options *o,
                          struct err *e)
{
    double *value = NULL;
    bool explained = false;
    enum status st = locate_judge(v, truth, got, false, e);
    for (size_t i = 0; i < v->n && st == ST_OK; i++) {
        struct finding *f = &v->findings[i];
        st = judge_from_inputs(f, &l->model, truth, got, o, &value, e);
        if (st != ST_OK || explained || !f->has_local || !f->local.bad) continue;
        explain(l, f, got, value, o);
        explained = true;
    }
    free(value);
    return st;
}

enum status foreign_recording(struct locate *l, const struct recording *truth,
                              const struct recording *got, const struct compare_options *o,
                              struct err *e)
{
    struct variant_result *v = &l->variants[0];
    v->variant = foreign_variant(o->precision.kv);
    l->n_variants = 1;
    enum status st = foreign_sites(l, v, truth, got, o, e);
    if (st == ST_OK && v->n == 0) st = fail(e, ST_FORMAT, "no tensor of it is a known site");
    if (st != ST_OK) return st;
    v->ran = true;
    locate_count(v, truth);
    locate_first(v);
    locate_conclude(l);
    return ST_OK;
}

/* ---- precision that was not declared --------------------------------------------------------- */

/* Whether the operation that failed is right once its inputs are rounded. This costs one site, and
 * a fault that is no rounding seldom gets further. */
static bool may_round(const struct locate *l, const struct recording *truth,
                      const struct recording *got, const struct compare_options *o)
{
    struct finding f = l->variants[0].findings[l->fault.finding];
    double *value = NULL;
    struct err e = {0};
    if (!f.has_local) return true;
    const enum status st = judge_from_inputs(&f, &l->model, truth, got, o, &value, &e);
    free(value);
    return st == ST_OK && f.local.bad == 0;
}

/* The energy of what the subject's values of a site differ by from those of a pass. */
static double energy_off(const struct recording *pass, const struct recording *got,
                         const struct finding *f)
{
    const struct record_site *w = record_find(pass, f->site, f->layer);
    const struct record_site *g = record_find(got, f->site, f->layer);
    const double *want = w->value + g->first_row * w->cols;
    double sum = 0;
    for (size_t i = 0; i < g->rows * g->cols; i++) {
        const double off = (double)g->got[i] - want[i];
        if (isfinite(off)) sum += off * off;
    }
    return sum;
}

/* Where no operation was judged by itself, bounds that have grown along the pass may hide a fault.
 * An engine that rounds as the pass does has about its values, while a fault is as far from them as
 * from the exact ones: at least half of the difference must go. */
static bool explains(const struct locate *l, const struct recording *truth,
                     const struct recording *rounded, const struct recording *got)
{
    const struct finding *f = &l->variants[0].findings[l->fault.finding];
    return l->fault.kind == LOCATED_SITE ||
           energy_off(rounded, got, f) <= energy_off(truth, got, f) / 2;
}

static double most_used(const struct variant_result *v)
{
    double most = 0;
    for (size_t i = 0; i < v->n; i++) {
        const struct finding *f = &v->findings[i];
        if (f->has_local) most = fmax(most, f->local.used);
        if (f->has_free) most = fmax(most, f->free_used);
    }
    return most;
}

enum status foreign_undeclared(struct locate *l, const struct recording *truth,
                               const struct recording *got, const struct compare_options *o,
                               struct err *e)
{
    static const char *const ways[] = {"f16", "bf16", "q8"};
    enum status st = ST_OK;
    if (l->fault.kind == LOCATED_NOTHING || !is_exact(&o->precision)) return ST_OK;
    for (size_t i = 0; i < sizeof ways / sizeof *ways && st == ST_OK && !l->conforms_as; i++) {
        struct compare_options as = *o;
        struct recording rounded = {.fd = -1};
        struct locate try = {.model = l->model};
        precision_by_name(ways[i], &as.precision);
        if (!may_round(l, truth, got, &as)) continue;
        st = foreign_truth(&rounded, &l->model, &as, false, e);
        if (st == ST_OK) st = foreign_recording(&try, &rounded, got, &as, e);
        if (st == ST_OK && try.fault.kind == LOCATED_NOTHING && explains(l, truth, &rounded, got)) {
            l->conforms_as = ways[i];
            l->conforms_used = most_used(&try.variants[0]);
        }
        record_close(&rounded);
        locate_free(&try);
    }
    if (l->conforms_as) locate_conclude(l);
    return st;
}

/* ---- two recordings -------------------------------------------------------------------------- */

/* What one recording says of a site, all tokens: of those that it does not show, what the other one
 * does. */
static double *pair_values(const struct record_site *s, const struct record_site *other,
                           size_t n_tokens)
{
    double *x = padded(s, NULL, n_tokens);
    for (size_t k = 0; x && other && k < s->first_row * s->cols; k++)
        if (k >= other->first_row * other->cols && other->cols == s->cols)
            x[k] = (double)other->got[k - other->first_row * other->cols];
    return x;
}

static enum status pair_truth(struct recording *truth, const struct recording *a,
                              const struct recording *b, double share, struct err *e)
{
    for (size_t i = 0; i < a->n; i++) {
        const struct record_site *s = &a->sites[i];
        const size_t n = a->n_tokens * s->cols;
        double *x = pair_values(s, record_find(b, s->site, s->layer), a->n_tokens);
        double *bound = alloc_array(n, sizeof *bound), sum = 0;
        size_t finite = 0;
        for (size_t k = 0; x && k < n; k++)
            if (isfinite(x[k])) sum += x[k] * x[k], finite++;
        for (size_t k = 0; bound && finite && k < n; k++)
            bound[k] = bound_share(share, sqrt(sum / (double)finite));
        if (x && bound)
            record_reference(truth, &(struct ref_values){.site = s->site,
                                                         .layer = s->layer,
                                                         .value = x,
                                                         .local = bound,
                                                         .dev = bound,
                                                         .rows = a->n_tokens,
                                                         .cols = s->cols});
        const bool ok = x && bound;
        free(x);
        free(bound);
        if (!ok) return fail(e, ST_NOMEM, "no memory for %zu values", n);
    }
    return ST_OK;
}

enum status foreign_pair(struct locate *l, const struct recording *a, const struct recording *b,
                         double share, struct err *e)
{
    struct variant_result *v = &l->variants[0];
    struct recording truth;
    enum status st = record_open(&truth, a->n_layers, a->n_heads, a->n_tokens, e);
    v->variant = foreign_variant(TYPE_F32);
    l->n_variants = 1;
    if (st == ST_OK) st = pair_truth(&truth, a, b, share, e);
    if (st == ST_OK) st = locate_judge(v, &truth, b, false, e);
    if (st == ST_OK && v->n == 0) st = fail(e, ST_FORMAT, "the two have no site in common");
    if (st == ST_OK) {
        v->ran = true;
        locate_count(v, &truth);
        locate_first(v);
        locate_conclude(l);
    }
    record_close(&truth);
    return st;
}
