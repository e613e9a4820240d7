/* Running a subject, freely and fed with the reference's values; see locate.h. */
#include "locate/run.h"
#include "locate/cause.h"
#include "locate/foreign.h"
#include "models/source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct variant locate_variants[] = {
    {"prefill", "the prompt at once, attention step by step", false, true, false, 0, TYPE_F32},
    {"decode", "token by token", true, false, false, 0, TYPE_F32},
    {"fused", "the prompt at once, attention as one operation", false, false, false, 0, TYPE_F32},
    {"matmul", "matrix kernels also for few tokens", false, true, true, 0, TYPE_F32},
    {"split", "the prompt in batches of 3", false, false, false, 3, TYPE_F32},
    {"kv-f16", "a KV cache of f16, token by token", true, true, false, 0, TYPE_F16},
};
const size_t locate_n_variants = sizeof locate_variants / sizeof *locate_variants;

/* ---- the probe ----------------------------------------------------------------------------- */

static bool is_attention_inside(enum site site)
{
    return site == SITE_SCORES || site == SITE_WEIGHTS;
}

bool locate_tap_want(void *ctx, enum site site, uint32_t layer)
{
    const struct tap *t = ctx;
    (void)layer;
    return t->unfused || !is_attention_inside(site);
}

void locate_tap_take(void *ctx, enum site site, uint32_t layer, const float *values, size_t rows,
                     size_t cols)
{
    struct tap *t = ctx;
    record_subject(t->got, site, layer, values, rows, cols, t->row);
    struct record_site *s = record_find(t->got, site, layer);
    if (!s || !t->backend || *s->kernel || site == SITE_LOGITS) return;
    struct backend_stats stats;
    backend_ops_of(t->backend)->stats(t->backend, &stats);
    snprintf(s->kernel, sizeof s->kernel, "%s", stats.variant);
}

const float *locate_tap_give(void *ctx, enum site site, uint32_t layer, size_t rows, size_t cols)
{
    struct tap *t = ctx;
    const struct record_site *s = t->truth ? record_find(t->truth, site, layer) : NULL;
    if (!s || t->row + rows > s->rows) return NULL;
    if (rows * cols > t->n_given) {
        float *grown = realloc(t->given, rows * cols * sizeof *grown);
        if (!grown) {
            fail(&t->got->err, ST_NOMEM, "no memory for %zu values", rows * cols);
            return NULL;
        }
        t->given = grown;
        t->n_given = rows * cols;
    }
    const size_t n_heads = t->got->n_heads;
    const size_t cells = is_attention_inside(site) ? cols / n_heads : cols;
    const size_t width = is_attention_inside(site) ? t->got->n_tokens : cols;
    const size_t parts = is_attention_inside(site) ? n_heads : 1;
    if (parts * width != s->cols) return NULL;
    for (size_t r = 0; r < rows; r++)
        for (size_t h = 0; h < parts; h++)
            for (size_t c = 0; c < cells; c++)
                t->given[r * cols + h * cells + c] =
                    (float)s->value[(t->row + r) * s->cols + h * width + c];
    return t->given;
}

/* ---- the subject ---------------------------------------------------------------------------- */

static enum status run_session(struct job *j, struct engine_session *s, struct tap *t,
                               struct err *e)
{
    const struct locate_options *o = j->options;
    const size_t n = o->n_tokens, step = j->variant->by_one ? 1 : j->variant->n_batch;
    enum status st = ST_OK;
    for (t->row = 0; t->row < n && st == ST_OK; t->row += step ? step : n) {
        size_t batch = step && step < n - t->row ? step : n - t->row;
        st = engine_eval(s, o->tokens + t->row, batch, true, e);
        if (st == ST_OK && t->got->err.st != ST_OK)
            st = fail(e, t->got->err.st, "%s", t->got->err.text);
        if (st == ST_OK && o->cancel && o->cancel()) st = fail(e, ST_CANCELLED, "interrupted");
    }
    return st;
}

/* truth NULL: running freely. */
static enum status run_engine(struct job *j, const struct recording *truth, struct recording *got,
                              struct err *e)
{
    const struct variant *v = j->variant;
    struct tap t = {
        .truth = truth, .got = got, .unfused = v->unfused, .backend = j->subject->backend};
    struct engine_probe probe = {.ctx = &t,
                                 .want = locate_tap_want,
                                 .take = locate_tap_take,
                                 .give = truth ? locate_tap_give : NULL};
    /* Which factors of longrope apply depends on the size of the context: the model's, as for the
     * reference. */
    const bool longrope =
        gguf_find_tensor(engine_model_gguf(j->model), "rope_factors_long.weight") != NULL;
    struct engine_session_options so = {.n_ctx = longrope ? 0 : j->options->n_tokens,
                                        .n_batch = j->options->n_tokens,
                                        .full_cells = true,
                                        .k_type = v->kv,
                                        .v_type = v->kv,
                                        .probe = &probe,
                                        .unfused = v->unfused,
                                        .always_matmul = v->always_matmul};
    struct engine_session *s = NULL;
    enum status st = engine_session_open(&s, j->model, j->subject->backend, &so, e);
    if (st == ST_OK) st = run_session(j, s, &t, e);
    engine_session_close(s);
    free(t.given);
    return st;
}

/* A subject that evaluates by itself, whole prompts only. */
static enum status run_own(struct job *j, const struct recording *truth, struct recording *got,
                           struct err *e)
{
    const struct variant *v = j->variant;
    const size_t n_vocab = engine_model_shape(j->model).n_vocab;
    struct tap t = {.truth = truth, .got = got, .unfused = true};
    const struct engine_probe probe = {.ctx = &t,
                                       .want = locate_tap_want,
                                       .take = locate_tap_take,
                                       .give = truth ? locate_tap_give : NULL};
    struct subject_eval a = {.model = j->options->path,
                             .tokens = j->options->tokens,
                             .n = j->options->n_tokens,
                             .n_vocab = n_vocab,
                             .probe = &probe};
    if (v->by_one || v->n_batch || v->always_matmul || !v->unfused || v->kv != TYPE_F32)
        return fail(e, ST_UNSUPPORTED, "%s evaluates whole prompts in its own way",
                    j->subject->name);
    if (!a.model)
        return fail(e, ST_UNSUPPORTED, "%s needs the path of the model", j->subject->name);
    a.logits = alloc_array(a.n * n_vocab, sizeof *a.logits);
    if (!a.logits) return fail(e, ST_NOMEM, "no memory for the logits of %zu tokens", a.n);
    enum status st = j->subject->eval(j->subject->ctx, &a, e);
    if (st == ST_OK && !record_find(got, SITE_LOGITS, 0))
        record_subject(got, SITE_LOGITS, 0, a.logits, a.n, n_vocab, 0);
    free(t.given);
    free(a.logits);
    return st;
}

static enum status run_once(struct job *j, const struct recording *truth, struct recording *got,
                            struct err *e)
{
    struct engine_shape shape = engine_model_shape(j->model);
    enum status st = record_open(got, shape.n_layers, shape.n_heads, j->options->n_tokens, e);
    if (st != ST_OK) return st;
    return j->subject->eval ? run_own(j, truth, got, e) : run_engine(j, truth, got, e);
}

/* ---- the reference --------------------------------------------------------------------------- */

struct listener {
    struct recording *to;
    const struct locate_options *o;
    size_t n_sites;
};

static void listen(void *ctx, const struct ref_values *v)
{
    struct listener *l = ctx;
    record_reference(l->to, v);
    if (l->o->progress) l->o->progress("reference", l->to->n, l->n_sites);
}

static bool give_up(void *ctx)
{
    const struct listener *l = ctx;
    return l->to->err.st != ST_OK || (l->o->cancel && l->o->cancel());
}

enum status locate_reference(struct recording *out, const struct ref_model *m,
                             const struct locate_options *o, enum tensor_type kv, struct err *e)
{
    const struct ref_shape shape = ref_model_shape(m);
    struct listener l = {out, o, (size_t)shape.n_layers * (SITE_NORM - SITE_ATTN_NORM) + 3};
    struct ref_err why = {{0}, false};
    struct ref_forward f = {.tokens = o->tokens,
                            .lengths = &o->n_tokens,
                            .n_seqs = 1,
                            .k_type = kv,
                            .v_type = kv,
                            .activations = o->activations,
                            .ctx = &l,
                            .take = listen,
                            .cancel = give_up};
    enum status st = record_open(out, shape.n_layers, shape.n_heads, o->n_tokens, e);
    double *logits = alloc_array(o->n_tokens * shape.n_vocab, sizeof *logits);
    if (st == ST_OK && !logits)
        st = fail(e, ST_NOMEM, "no memory for the logits of %zu tokens", o->n_tokens);
    if (st == ST_OK && !ref_forward(m, &f, logits, NULL, &why)) {
        const bool stopped = out->err.st == ST_OK && o->cancel && o->cancel();
        st = stopped ? fail(e, ST_CANCELLED, "interrupted") : fail(e, ST_RANGE, "%s", why.text);
    }
    if (out->err.st != ST_OK) {
        if (e) *e = (struct err){0};
        st = fail(e, out->err.st, "%s", out->err.text);
    }
    free(logits);
    return st;
}

/* ---- recording only -------------------------------------------------------------------------- */

enum status locate_record_rounded(struct recording *out, const struct recording *truth,
                                  struct err *e)
{
    enum status st = record_open(out, truth->n_layers, truth->n_heads, truth->n_tokens, e);
    for (size_t i = 0; i < truth->n && st == ST_OK; i++) {
        const struct record_site *s = &truth->sites[i];
        struct record_site *to = record_add(out, s->site, s->layer, s->rows, s->cols, 0);
        if (!to) return fail(e, out->err.st, "%s", out->err.text);
        for (size_t k = 0; k < s->rows * s->cols; k++) to->got[k] = (float)s->value[k];
        for (size_t k = 0; k < s->rows; k++) to->filled[k] = true;
    }
    return st;
}

static enum status capture_reference(struct recording *out, struct gguf *g, const struct variant *v,
                                     const struct locate_options *o, struct err *e)
{
    struct ref_model *ref = NULL;
    struct recording truth = {.fd = -1};
    enum status st = source_open(&ref, g, e);
    if (st == ST_OK) st = locate_reference(&truth, ref, o, v->kv, e);
    if (st == ST_OK) st = locate_record_rounded(out, &truth, e);
    record_close(&truth);
    ref_model_close(ref);
    return st;
}

enum status locate_capture(struct recording *out, struct gguf *g, const char *subject,
                           const struct variant *v, const struct locate_options *o, struct err *e)
{
    struct job j = {.variant = v, .options = o};
    if (strcmp(subject, "reference") == 0) return capture_reference(out, g, v, o, e);
    enum status st = engine_model_from_gguf(&j.model, g, e);
    if (st == ST_OK) st = subject_open(&j.subject, subject, e);
    if (st == ST_OK && !j.subject->backend && !j.subject->eval)
        st = fail(e, ST_UNSUPPORTED, "%s does not evaluate models", subject);
    if (st == ST_OK) st = run_once(&j, NULL, out, e);
    if (st == ST_OK && out->err.st != ST_OK) st = fail(e, out->err.st, "%s", out->err.text);
    engine_model_close(j.model);
    return st;
}

/* ---- variants -------------------------------------------------------------------------------- */

/* The hypothesis that explains the first local defect. */
static void explain(struct locate *l, struct variant_result *v, const struct recording *want,
                    const struct recording *got, const struct locate_options *o)
{
    const struct finding *f = &v->findings[v->first];
    struct suspect s = {.m = &l->model,
                        .site = f->site,
                        .layer = f->layer,
                        .tokens = o->tokens,
                        .n_tokens = o->n_tokens,
                        .want = want,
                        .got = record_find(got, f->site, f->layer),
                        .precision = precision_exact};
    s.precision.kv = v->variant->kv;
    if (*l->fault.cause) return;
    cause_explain(&s, l->fault.cause, sizeof l->fault.cause, &l->fault.unexplained);
}

/* A subject that cannot be fed, or that declares a lower precision, is judged by the inputs that it
 * had itself. */
static enum status judge_unfed(struct job *j, struct locate *l, struct variant_result *v,
                               const struct recording *truth, struct err *e)
{
    struct recording own = {.fd = -1}, low = {.fd = -1};
    struct compare_options o = {.tokens = j->options->tokens,
                                .n_tokens = j->options->n_tokens,
                                .precision = precision_exact,
                                .progress = j->options->progress,
                                .cancel = j->options->cancel};
    const char *activations = j->subject->activations;
    if (activations && !precision_by_name(activations, &o.precision))
        return fail(e, ST_USAGE, "%s declares activations '%s', not f32, f16, bf16 or q8",
                    j->subject->name, activations);
    enum status st = run_once(j, NULL, &own, e);
    if (st == ST_OK && activations) st = foreign_truth(&low, &l->model, &o, false, e);
    if (st == ST_OK) st = foreign_sites(l, v, activations ? &low : truth, &own, &o, e);
    if (st == ST_OK) {
        v->ran = true;
        locate_count(v, truth);
        locate_first(v);
    }
    record_close(&own);
    record_close(&low);
    return st;
}

static enum status judge_variant(struct job *j, struct locate *l, struct variant_result *v,
                                 const struct recording *truth, struct err *e)
{
    struct recording own = {.fd = -1}, fed = {.fd = -1};
    if (j->subject->eval && (!j->subject->gives || j->subject->activations))
        return judge_unfed(j, l, v, truth, e);
    enum status st = run_once(j, NULL, &own, e);
    if (st == ST_OK) st = locate_judge(v, truth, &own, false, e);
    record_close(&own);
    if (st == ST_OK) st = run_once(j, truth, &fed, e);
    if (st == ST_OK) st = locate_judge(v, truth, &fed, true, e);
    if (st == ST_OK) {
        v->ran = true;
        if (j->subject->eval) locate_count(v, truth);
        locate_first(v);
        if (v->located == LOCATED_SITE) explain(l, v, truth, &fed, j->options);
    }
    record_close(&fed);
    return st;
}

static enum status run_variants(struct locate *l, struct job *j, const struct ref_model *ref,
                                struct err *e)
{
    struct recording truth = {.fd = -1};
    enum tensor_type kv = TYPE_ID_END; /* of truth */
    const size_t n = j->options->only_first ? 2 : locate_n_variants;
    enum status st = ST_OK;
    for (size_t i = 0; i < n && st == ST_OK; i++) {
        struct variant_result *v = &l->variants[l->n_variants];
        struct err why = {0};
        j->variant = v->variant = &locate_variants[i];
        if (kv != j->variant->kv) {
            record_close(&truth);
            kv = j->variant->kv;
            st = locate_reference(&truth, ref, j->options, kv, e);
            if (st != ST_OK) break;
        }
        if (j->options->progress) j->options->progress(j->variant->name, i, n);
        enum status ran = judge_variant(j, l, v, &truth, &why);
        if (ran != ST_OK && ran != ST_UNSUPPORTED) st = fail(e, ran, "%s", why.text);
        snprintf(v->reason, sizeof v->reason, "%.255s", why.text);
        l->n_variants++;
    }
    record_close(&truth);
    bool any = false;
    for (size_t i = 0; i < l->n_variants; i++) any = any || l->variants[i].ran;
    if (st == ST_OK && !any) return fail(e, ST_UNSUPPORTED, "%s", l->variants[0].reason);
    return st;
}

enum status locate_run(struct locate *l, struct gguf *g, const struct subject *s,
                       const struct locate_options *o, struct err *e)
{
    struct ref_model *ref = NULL;
    struct job j = {.subject = s, .options = o};
    *l = (struct locate){.n_variants = 0};
    enum status st = engine_model_from_gguf(&j.model, g, e);
    if (st == ST_OK) st = source_open(&ref, g, e);
    if (st == ST_OK && !s->backend && !s->eval)
        st = fail(e, ST_UNSUPPORTED, "%s does not evaluate models", s->name);
    if (st == ST_OK) {
        l->model = site_model_of(g, ref);
        st = run_variants(l, &j, ref, e);
        l->partial = st == ST_CANCELLED;
        if (st == ST_OK || l->partial) locate_conclude(l);
    }
    l->ref = ref;
    engine_model_close(j.model);
    return st;
}

void locate_free(struct locate *l)
{
    for (size_t i = 0; i < l->n_variants; i++) free(l->variants[i].findings);
    ref_model_close(l->ref);
    *l = (struct locate){.n_variants = 0};
}
