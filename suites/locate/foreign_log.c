/* Judging the values that a log of llama-eval-callback shows; see locate_compare.h. */
#include "locate/foreign.h"
#include "judge/bounds.h"
#include "locate/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Place of a shown value in the recording of its site; false: padding. Scores are (cells, tokens,
 * heads) with more cells than tokens, values after RoPE (head_dim, heads, tokens). */
struct place {
    size_t row, col;
};

static bool place_of(const struct log_tensor *t, const struct record_site *w, size_t n_tokens,
                     const uint64_t at[4], struct place *p)
{
    if (site_table[t->site].width == WIDTH_SCORES) {
        const size_t rows = (size_t)t->dims[1];
        *p = (struct place){n_tokens - rows + (size_t)at[1],
                            (size_t)at[2] * n_tokens + (size_t)at[0]};
        return at[0] < n_tokens && p->row < w->rows && p->col < w->cols;
    }
    const size_t flat = (size_t)(at[0] + t->dims[0] * (at[1] + t->dims[1] * at[2]));
    const size_t rows = (size_t)(t->dims[0] * t->dims[1] * t->dims[2]) / w->cols;
    *p = (struct place){n_tokens - rows + flat / w->cols, flat % w->cols};
    return p->row < w->rows;
}

static bool fits(const struct log_tensor *t, const struct record_site *w, size_t n_tokens)
{
    const size_t n = (size_t)(t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3]);
    if (site_table[t->site].width == WIDTH_SCORES)
        return t->dims[0] >= n_tokens && t->dims[1] <= n_tokens && t->dims[2] * n_tokens == w->cols;
    return n % w->cols == 0 && n / w->cols <= n_tokens;
}

/* Values, what they should be, and bounds, as arrays for compare_within. */
struct shown {
    float *got;
    double *want, *bound;
};

static bool shown_alloc(struct shown *s, size_t n)
{
    s->got = alloc_array(n, sizeof *s->got);
    s->want = alloc_array(2 * n, sizeof *s->want);
    s->bound = s->want + n;
    return s->got && s->want;
}

/* The value nearest to what is due among those that print like this one. */
static double unprinted(double value, double want)
{
    const double off = value - want;
    if (fabs(off) <= bound_printed()) return want;
    return off > 0 ? value - bound_printed() : value + bound_printed();
}

static void fill(struct shown *s, const struct log_tensor *t, const struct record_site *w,
                 const struct site_model *m, size_t n_tokens)
{
    const double factor = t->site == SITE_SCORES ? 1 / m->hyper.kq_scale : 1;
    for (size_t k = 0; k < t->n; k++) {
        uint64_t at[4];
        struct place p;
        callback_log_index(t, k, at);
        const bool inside = place_of(t, w, n_tokens, at, &p);
        const size_t i = inside ? p.row * w->cols + p.col : 0;
        s->want[k] = inside ? factor * w->value[i] : 0;
        s->got[k] = (float)unprinted(t->values[k], s->want[k]);
        s->bound[k] = bound_log_value(s->want[k], inside ? factor * w->dev[i] : 0);
        /* padding of scores holds whatever the cache held */
        if (!inside && t->site == SITE_SCORES) s->got[k] = (float)s->want[k];
    }
}

/* Against the sum of all that is due. Padding of scores holds whatever the cache held. */
static bool sum_of_all(const struct log_tensor *t, const struct record_site *w,
                       const struct site_model *m, size_t n_tokens, double *error, double *bound)
{
    const double factor = t->site == SITE_SCORES ? 1 / m->hyper.kq_scale : 1;
    double all = 0, all_bound = 0, mag = 0;
    if (t->site == SITE_SCORES && t->dims[0] > n_tokens) return false;
    const size_t rows = site_table[t->site].width == WIDTH_SCORES
                            ? (size_t)t->dims[1]
                            : (size_t)(t->dims[0] * t->dims[1] * t->dims[2]) / w->cols;
    for (size_t i = (n_tokens - rows) * w->cols; i < w->rows * w->cols; i++) {
        all += factor * w->value[i];
        mag += fabs(factor * w->value[i]);
        all_bound += factor * factor * w->dev[i] * w->dev[i];
    }
    *error = fabs(t->sum - all);
    *bound = bound_log_sum_all(all_bound, mag);
    return !(*error <= *bound);
}

/* Of a tensor whose shown values are right: that of all tells of the others, that of the shown ones
 * whether the log is as it was printed. */
static void judge_sum(struct case_result *r, const struct callback_log *log,
                      const struct log_tensor *t, const struct record_site *w,
                      const struct site_model *m, size_t n_tokens)
{
    double error, bound;
    if (!t->has_sum) return;
    if (log->sums_all) {
        if (!sum_of_all(t, w, m, n_tokens, &error, &bound)) return;
        snprintf(r->pattern, sizeof r->pattern, "the sum of all values; those shown are right");
    } else {
        const double shown = callback_log_sum(t, &bound);
        error = fabs(t->sum - shown);
        if (error <= bound) return;
        snprintf(r->pattern, sizeof r->pattern, "the sum");
        snprintf(r->message, sizeof r->message, "the sum is %.6g, the values shown add up to %.6g",
                 t->sum, shown);
    }
    r->bad = 1;
    r->error = error;
    r->bound = bound;
    r->used = error / bound;
}

static struct finding *finding_for(struct variant_result *v, const struct log_tensor *t)
{
    for (size_t i = 0; i < v->n; i++)
        if (v->findings[i].site == t->site && v->findings[i].layer == t->layer)
            return &v->findings[i];
    return &v->findings[v->n++];
}

static void measure_shown(struct magnitude *m, const double *x, const float *y, size_t n)
{
    size_t finite = 0;
    *m = (struct magnitude){0};
    for (size_t i = 0; i < n; i++) {
        const double value = x ? x[i] : (double)y[i];
        if (!isfinite(value)) {
            m->nonfinite++;
            continue;
        }
        m->rms += value * value;
        m->max_abs = fmax(m->max_abs, fabs(value));
        finite++;
    }
    m->rms = finite ? sqrt(m->rms / (double)finite) : 0;
}

static enum status judge_tensor(struct locate *l, const struct recording *truth,
                                const struct callback_log *log, const struct log_tensor *t,
                                struct err *e)
{
    struct variant_result *v = &l->variants[0];
    const struct record_site *w = record_find(truth, t->site, t->layer);
    struct shown s;
    if (!w || !fits(t, w, truth->n_tokens))
        return fail(
            e, ST_FORMAT,
            "line %zu: %s is %llu x %llu x %llu, which does not fit the model and %zu tokens",
            t->line, t->name, (unsigned long long)t->dims[0], (unsigned long long)t->dims[1],
            (unsigned long long)t->dims[2], truth->n_tokens);
    if (!shown_alloc(&s, t->n)) {
        free(s.got);
        free(s.want);
        return fail(e, ST_NOMEM, "no memory for %zu values", t->n);
    }
    fill(&s, t, w, &l->model, truth->n_tokens);
    struct finding *f = finding_for(v, t);
    const size_t width = t->dims[0] > 2 * LOG_EDGE ? 2 * LOG_EDGE : (size_t)t->dims[0];
    *f = (struct finding){.site = t->site,
                          .layer = t->layer,
                          .rows = w->rows,
                          .cols = w->cols,
                          .has_local = true,
                          .local = {.nmse_worst_row = NAN}};
    compare_within(&f->local, s.got, s.want, s.bound, t->n / width, width);
    if (f->local.bad) {
        uint64_t at[4];
        struct place p;
        callback_log_index(t, f->local.first_bad, at);
        if (place_of(t, w, truth->n_tokens, at, &p)) f->local.first_bad = p.row * w->cols + p.col;
    }
    measure_shown(&f->want, s.want, NULL, t->n);
    measure_shown(&f->got, NULL, s.got, t->n);
    if (f->local.bad == 0) judge_sum(&f->local, log, t, w, &l->model, truth->n_tokens);
    if (f->local.bad) snprintf(f->kernel, sizeof f->kernel, "line %zu, %.40s", t->line, t->name);
    free(s.got);
    free(s.want);
    return ST_OK;
}

/* A log may hold several passes, such as one for warming up or for a next token: the last one of
 * this length counts. Tensors [*start, *end); false: there is none. */
static bool find_pass(const struct callback_log *log, size_t n_tokens, size_t *start, size_t *end)
{
    bool found = false, open = false;
    for (size_t i = 0; i < log->n; i++) {
        if (log->tensors[i].site != SITE_EMBD) continue;
        if (open) *end = i;
        open = log->tensors[i].dims[1] == n_tokens;
        if (!open) continue;
        found = true;
        *start = i;
    }
    if (open) *end = log->n;
    return found;
}

static enum status no_pass(const struct callback_log *log, size_t n_tokens, struct err *e)
{
    const struct log_tensor *t = NULL;
    for (size_t i = 0; i < log->n; i++)
        if (log->tensors[i].site == SITE_EMBD) t = &log->tensors[i];
    if (!t)
        return fail(e, ST_FORMAT, "the log holds no token embedding, so no pass from its start");
    return fail(e, ST_FORMAT,
                "the log holds no pass over %zu tokens, but one over %llu: is this its prompt%s?",
                n_tokens, (unsigned long long)t->dims[1],
                t->dims[1] + 1 == n_tokens ? ", and did the engine leave out BOS" : "");
}

static void conclude_log(struct locate *l, const struct compare_options *o)
{
    struct variant_result *v = &l->variants[0];
    struct located_fault *d = &l->fault;
    char place[96], declared[96], missing[128], error[64] = "values that are no numbers, beyond";
    double most = 0;
    snprintf(declared, sizeof declared, "%s activations, %s cache", precision_name(&o->precision),
             type_by_id(o->precision.kv)->name);
    locate_first(v);
    for (size_t i = 0; i < v->n; i++) most = fmax(most, v->findings[i].local.used);
    if (v->located == LOCATED_NOTHING) {
        snprintf(l->verdict, sizeof l->verdict,
                 "NO DEFECT: the %zu tensors that it shows are within what its precision allows "
                 "(%s): at most %.0f %% used%s",
                 v->n, declared, 100 * most, locate_missing(l, missing, sizeof missing));
        return;
    }
    const struct finding *f = &v->findings[v->first];
    d->kind = LOCATED_SITE;
    d->finding = v->first;
    locate_describe_place(&l->model, f, place, sizeof place);
    locate_describe_op(&l->model, f, v->variant, d->op, sizeof d->op);
    if (isfinite(f->local.used)) snprintf(error, sizeof error, "error %.2g x", f->local.used);
    if (*f->local.message) {
        snprintf(l->verdict, sizeof l->verdict, "DEFECT: %s (%s): %.200s; %s", place, d->op,
                 f->local.message, f->kernel);
        return;
    }
    snprintf(l->verdict, sizeof l->verdict,
             "DEFECT: %s (%s): %s what its precision allows (%s); %s; %s", place, d->op, error,
             declared, f->local.pattern, f->kernel);
}

enum status foreign_log(struct locate *l, const struct recording *truth, struct callback_log *log,
                        const struct compare_options *o, struct err *e)
{
    struct variant_result *v = &l->variants[0];
    size_t start = 0, end = 0;
    v->variant = foreign_variant(o->precision.kv);
    l->n_variants = 1;
    callback_log_resolve(log, &l->model);
    if (!find_pass(log, o->n_tokens, &start, &end)) return no_pass(log, o->n_tokens, e);
    v->findings = alloc_array(truth->n, sizeof *v->findings);
    if (!v->findings) return fail(e, ST_NOMEM, "no memory for the findings of a log");
    enum status st = ST_OK;
    for (size_t i = start; i < end && st == ST_OK; i++)
        if (log->tensors[i].site != SITE_COUNT)
            st = judge_tensor(l, truth, log, &log->tensors[i], e);
    if (st != ST_OK) return st;
    v->ran = true;
    locate_count(v, truth);
    conclude_log(l, o);
    return ST_OK;
}
