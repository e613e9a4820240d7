/* Judging what was recorded, and the verdict; see locate.h. */
#include "locate/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- judging --------------------------------------------------------------------------------- */

static void add_value(struct magnitude *m, double x, size_t *n)
{
    if (!isfinite(x)) {
        m->nonfinite++;
        return;
    }
    m->rms += x * x;
    m->max_abs = fmax(m->max_abs, fabs(x));
    ++*n;
}

/* Of values that the reference has finite: hidden scores do not count. */
static void measure(struct finding *f, const double *want, const float *got, size_t count)
{
    size_t n_want = 0, n_got = 0;
    f->want = f->got = (struct magnitude){0};
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(want[i]) && (double)got[i] == want[i]) continue;
        add_value(&f->want, want[i], &n_want);
        add_value(&f->got, (double)got[i], &n_got);
    }
    f->want.rms = n_want ? sqrt(f->want.rms / (double)n_want) : 0;
    f->got.rms = n_got ? sqrt(f->got.rms / (double)n_got) : 0;
}

static void judge_tops(struct variant_result *v, const struct record_site *want,
                       const struct record_site *got)
{
    v->worst = VERDICT_AGREE;
    v->logits_used = 0;
    for (size_t i = 0; i < got->rows; i++) {
        const size_t at = (got->first_row + i) * want->cols;
        struct judged_top t =
            judge_top(got->got + i * want->cols, want->value + at, want->dev + at, want->cols);
        if (i > 0 && t.verdict <= v->worst) continue;
        v->worst = t.verdict;
        v->where = t;
        v->where_row = got->first_row + i;
    }
}

static void judge_site(struct variant_result *v, struct finding *f, const struct record_site *want,
                       const struct record_site *got, bool local)
{
    const size_t at = got->first_row * want->cols;
    struct case_result r = {.nmse_worst_row = NAN};
    compare_within(&r, got->got, want->value + at, (local ? want->local : want->dev) + at,
                   got->rows, want->cols);
    f->rows = got->rows;
    f->cols = want->cols;
    if (!f->has_free) measure(f, want->value + at, got->got, got->rows * want->cols);
    if (*got->kernel) memcpy(f->kernel, got->kernel, sizeof f->kernel);
    if (local) {
        f->has_local = true;
        f->local = r;
        return;
    }
    f->has_free = true;
    f->free_error = r.error;
    f->free_bound = r.bound;
    f->free_used = r.used;
    if (want->site != SITE_LOGITS) return;
    judge_tops(v, want, got);
    v->logits_used = r.used;
}

static struct finding *finding_of(struct variant_result *v, enum site site, uint32_t layer)
{
    for (size_t i = 0; i < v->n; i++)
        if (v->findings[i].site == site && v->findings[i].layer == layer) return &v->findings[i];
    struct finding *f = &v->findings[v->n++];
    *f = (struct finding){.site = site, .layer = layer};
    return f;
}

enum status locate_judge(struct variant_result *v, const struct recording *want,
                         const struct recording *got, bool local, struct err *e)
{
    if (got->err.st != ST_OK) return fail(e, got->err.st, "%s", got->err.text);
    if (!v->findings) v->findings = alloc_array(want->n, sizeof *v->findings);
    if (!v->findings) return fail(e, ST_NOMEM, "no memory for the findings of %zu sites", want->n);
    for (size_t i = 0; i < want->n; i++) {
        const struct record_site *w = &want->sites[i], *g = record_find(got, w->site, w->layer);
        if (!g) continue;
        if (g->cols != w->cols || g->first_row + g->rows > w->rows)
            return fail(e, ST_FORMAT, "%s of layer %u is %zu x %zu, where %zu x %zu are due",
                        site_table[w->site].name, w->layer, g->rows, g->cols, w->rows, w->cols);
        if (!record_complete(g))
            return fail(e, ST_DEVICE, "the subject left out rows of %s in layer %u",
                        site_table[w->site].name, w->layer);
        judge_site(v, finding_of(v, w->site, w->layer), w, g, local);
    }
    return ST_OK;
}

/* The first operation that is wrong by itself, or the first value that is beyond its propagated
 * bound where the operation cannot be judged; else the first such value at all. */
void locate_first(struct variant_result *v)
{
    v->located = LOCATED_NOTHING;
    for (size_t i = 0; i < v->n; i++) {
        const struct finding *f = &v->findings[i];
        const bool parts = f->has_free && !(f->free_used <= 1);
        if (f->has_local ? f->local.bad == 0 : !parts) continue;
        v->located = f->has_local ? LOCATED_SITE : LOCATED_BETWEEN;
        v->first = i;
        return;
    }
    for (size_t i = 0; i < v->n; i++)
        if (v->findings[i].has_free && !(v->findings[i].free_used <= 1)) {
            v->located = LOCATED_BETWEEN;
            v->first = i;
            return;
        }
}

void locate_count(struct variant_result *v, const struct recording *truth)
{
    v->n_missing = 0;
    for (size_t i = 0; i < truth->n; i++) {
        bool seen = false;
        for (size_t k = 0; k < v->n && !seen; k++)
            seen = v->findings[k].site == truth->sites[i].site &&
                   v->findings[k].layer == truth->sites[i].layer;
        if (seen || v->n_missing++ > 0) continue;
        v->missing_site = truth->sites[i].site;
        v->missing_layer = truth->sites[i].layer;
    }
}

/* ---- words ----------------------------------------------------------------------------------- */

void locate_describe_place(const struct site_model *m, const struct finding *f, char *out,
                           size_t cap)
{
    const char *title = ref_site_of(m->ref, f->site, f->layer).title;
    if (site_table[f->site].scope == SITE_LAYER)
        snprintf(out, cap, "layer %u, %s", f->layer, title);
    else
        snprintf(out, cap, "%s", title);
}

const char *locate_missing(const struct locate *l, char *out, size_t cap)
{
    const struct variant_result *v = &l->variants[0];
    char place[96];
    *out = 0;
    if (l->n_variants == 0 || v->n_missing == 0) return out;
    const struct finding f = {.site = v->missing_site, .layer = v->missing_layer};
    locate_describe_place(&l->model, &f, place, sizeof place);
    snprintf(out, cap, "; %zu site%s of the pass %s not in it (the first: %s)", v->n_missing,
             v->n_missing == 1 ? "" : "s", v->n_missing == 1 ? "is" : "are", place);
    return out;
}

void locate_describe_op(const struct site_model *m, const struct finding *f,
                        const struct variant *v, char *out, size_t cap)
{
    const struct ref_site own = ref_site_of(m->ref, f->site, f->layer);
    const struct ref_site *fact = &own;
    const struct ref_shape *s = &m->shape;
    const size_t batch = v->by_one ? 1 : v->n_batch && v->n_batch < f->rows ? v->n_batch : f->rows;
    const struct ref_weight w = own.weight;
    switch (fact->kind) {
    case REF_SITE_LINEAR:
    case REF_SITE_EMBED:
        if (!w.data) break;
        const char *op = fact->kind == REF_SITE_EMBED      ? "get_rows"
                         : batch <= 8 && !v->always_matmul ? "matvec"
                                                           : "matmul";
        snprintf(out, cap, "%s %s, %zux%zu, %s", op, type_by_id(w.type)->name, w.n_in, w.n_out,
                 w.name);
        return;
    case REF_SITE_ROPE:
        snprintf(out, cap, "rope, %u heads of %u",
                 f->site == SITE_Q_ROPE ? s->n_heads : s->n_kv_heads, s->head_dim);
        return;
    case REF_SITE_SCORES:
    case REF_SITE_SOFTMAX:
    case REF_SITE_ATTENTION:
        snprintf(out, cap, "%s, %u query and %u KV heads of %u, cache %s",
                 fact->kind == REF_SITE_ATTENTION && v->unfused ? "attn_mix" : fact->op, s->n_heads,
                 s->n_kv_heads, s->head_dim, type_by_id(v->kv)->name);
        return;
    case REF_SITE_NORM:
    case REF_SITE_ADD:
    case REF_SITE_ACT:
    case REF_SITE_SEVERAL:
        break;
    }
    const int n =
        snprintf(out, cap, "%s, %zu", fact->op ? fact->op : site_table[f->site].name, f->cols);
    if (!fact->tensor || n < 0 || (size_t)n >= cap) return;
    if (site_table[f->site].scope == SITE_LAYER)
        snprintf(out + n, cap - (size_t)n, ", blk.%u.%s.weight", f->layer, fact->tensor);
    else
        snprintf(out + n, cap - (size_t)n, ", %s.weight", fact->tensor);
}

/* ---- the verdict ----------------------------------------------------------------------------- */

static size_t order_of(const struct finding *f)
{
    const size_t site = (size_t)f->site;
    if (f->site == SITE_EMBD) return 0;
    if (site_table[f->site].scope == SITE_MODEL) return SIZE_MAX - SITE_COUNT + site;
    return 1 + (size_t)f->layer * SITE_COUNT + site;
}

static void choose_fault(struct locate *l)
{
    struct located_fault *d = &l->fault;
    for (size_t i = 0; i < l->n_variants; i++) {
        const struct variant_result *v = &l->variants[i];
        if (!v->ran || v->located == LOCATED_NOTHING) continue;
        const struct variant_result *best = &l->variants[d->variant];
        bool better = d->kind == LOCATED_NOTHING ||
                      (d->kind == LOCATED_BETWEEN && v->located == LOCATED_SITE);
        if (!better && d->kind == v->located)
            better = order_of(&v->findings[v->first]) < order_of(&best->findings[best->first]);
        if (!better) continue;
        d->kind = v->located;
        d->variant = i;
        d->finding = v->first;
    }
    for (size_t i = 0; i < l->n_variants; i++)
        d->carried[i] = l->variants[i].ran && l->variants[i].located != LOCATED_NOTHING;
}

/* In which layers the same site is wrong. */
static void count_layers(struct located_fault *d, const struct variant_result *v)
{
    const enum site site = v->findings[d->finding].site;
    d->n_layers_hit = 0;
    for (size_t i = 0; i < v->n; i++) {
        const struct finding *f = &v->findings[i];
        if (f->site != site || !f->has_local || !f->local.bad) continue;
        if (d->n_layers_hit++ == 0) d->layers_hit_first = f->layer;
        d->layers_hit_last = f->layer;
    }
}

static void say_layers(const struct locate *l, const struct finding *f, char *out, size_t cap)
{
    const struct located_fault *d = &l->fault;
    *out = 0;
    if (site_table[f->site].scope != SITE_LAYER || l->model.shape.n_layers < 2) return;
    if (d->n_layers_hit == 1)
        snprintf(out, cap, "; in this layer only");
    else if (d->n_layers_hit == l->model.shape.n_layers)
        snprintf(out, cap, "; in every layer");
    else
        snprintf(out, cap, "; in %u layers, the last one %u", d->n_layers_hit, d->layers_hit_last);
}

static void say_defect(struct locate *l)
{
    struct located_fault *d = &l->fault;
    struct variant_result *v = &l->variants[d->variant];
    const struct finding *f = &v->findings[d->finding];
    char place[96], layers[64];
    locate_describe_place(&l->model, f, place, sizeof place);
    locate_describe_op(&l->model, f, v->variant, d->op, sizeof d->op);
    if (d->kind == LOCATED_BETWEEN && !f->has_local) {
        char top[128] = "";
        if (f->site == SITE_LOGITS && v->worst == VERDICT_DEFECT)
            snprintf(top, sizeof top, "; top token %zu, the reference has %zu by %.3g",
                     v->where.got, v->where.want, v->where.margin);
        snprintf(l->verdict, sizeof l->verdict,
                 "DEFECT: %s (%s) or what leads to it: off by %.2g x the bound, values seen before "
                 "are within; its inputs were not seen%s",
                 place, d->op, f->free_used, top);
        return;
    }
    if (d->kind == LOCATED_BETWEEN) {
        snprintf(l->verdict, sizeof l->verdict,
                 "DEFECT: from %s (%s) on, values part by %.3g x the propagated bound, though each "
                 "operation alone is within its own: state kept between operations",
                 place, d->op, f->free_used);
        return;
    }
    count_layers(d, v);
    say_layers(l, f, layers, sizeof layers);
    char error[64];
    if (f->local.bound > 0)
        snprintf(error, sizeof error, "local error %.2g x bound", f->local.used);
    else
        snprintf(error, sizeof error, "local error %.2g where equality is due", f->local.error);
    snprintf(l->verdict, sizeof l->verdict, "DEFECT: %s (%s): %s; %s%s", place, d->op, error,
             *d->cause ? d->cause : f->local.pattern, layers);
}

/* The defect is one of an engine that claims to be exact: rounding explains all of it. */
static void say_conforms(struct locate *l)
{
    char said[sizeof l->verdict];
    memcpy(said, l->verdict, sizeof said);
    snprintf(
        l->verdict, sizeof l->verdict,
        "DEFECT if the engine claims to be exact%.700s; would conform with --activations %s (at "
        "most %.0f %% of a bound): say so if that is what the engine does",
        said + strlen("DEFECT"), l->conforms_as, 100 * l->conforms_used);
}

static void say_no_defect(struct locate *l)
{
    const struct variant_result *worst = NULL, *tie = NULL;
    const struct finding *most = NULL;
    bool tops = false;
    char place[96] = "";
    for (size_t i = 0; i < l->n_variants; i++) {
        const struct variant_result *v = &l->variants[i];
        if (!v->ran) continue;
        if (!worst || v->logits_used > worst->logits_used) worst = v;
        if (v->worst == VERDICT_TIE) tie = v;
        for (size_t k = 0; k < v->n; k++) {
            const struct finding *f = &v->findings[k];
            if (f->has_local && (!most || f->local.used > most->local.used)) most = f;
            tops = tops || (f->site == SITE_LOGITS && f->has_free);
        }
    }
    if (most) locate_describe_place(&l->model, most, place, sizeof place);
    if (tie)
        snprintf(l->verdict, sizeof l->verdict,
                 "NO DEFECT: top tokens differ by less than the bound on the margin (%.2g < %.2g)",
                 tie->where.margin, tie->where.bound);
    else if (most && tops)
        snprintf(l->verdict, sizeof l->verdict,
                 "NO DEFECT: every operation is within its bound (at most %.0f %% of it: %s); top "
                 "tokens agree, logits use %.2g %% of the propagated bound",
                 100 * most->local.used, place, 100 * worst->logits_used);
    else if (most)
        snprintf(l->verdict, sizeof l->verdict,
                 "NO DEFECT: every operation is within its bound (at most %.0f %% of it: %s)",
                 100 * most->local.used, place);
    else
        snprintf(l->verdict, sizeof l->verdict, "NO DEFECT: every value is within the bound%s",
                 tops ? "; top tokens agree" : "");
    const size_t n = strlen(l->verdict);
    locate_missing(l, l->verdict + n, sizeof l->verdict - n);
}

void locate_conclude(struct locate *l)
{
    choose_fault(l);
    bool any = false;
    for (size_t i = 0; i < l->n_variants; i++) any = any || l->variants[i].ran;
    if (!any)
        snprintf(l->verdict, sizeof l->verdict, "NOTHING JUDGED: interrupted before the first run");
    else if (l->fault.kind == LOCATED_NOTHING)
        say_no_defect(l);
    else
        say_defect(l);
    if (any && l->conforms_as) say_conforms(l);
    if (!l->partial || !any) return;
    char said[sizeof l->verdict];
    memcpy(said, l->verdict, sizeof said);
    snprintf(l->verdict, sizeof l->verdict, "interrupted; so far %.1000s", said);
}
