/* Judging one model in one tensor type; see qualify.h. */
#include "command/qualify_row.h"
#include "models/info.h"
#include "models/source.h"
#include "subject/subject.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what the reference says ------------------------------------------------------------- */

struct layer_stats {
    struct report_layer *layers;
    size_t n;
};

static bool want_residual(void *ctx, enum site site, uint32_t layer)
{
    (void)ctx, (void)layer;
    return site == SITE_RESID_2;
}

static void take_residual(void *ctx, const struct ref_values *v)
{
    struct layer_stats *s = ctx;
    size_t n = v->rows * v->cols;
    double sum = 0, squares = 0, top = 0;
    struct report_layer *l = &s->layers[s->n++];
    *l = (struct report_layer){.layer = v->layer, .site = site_table[v->site].name};
    for (size_t i = 0; i < n; i++) {
        sum += v->value[i];
        squares += v->value[i] * v->value[i];
        top = fmax(top, fabs(v->value[i]));
        l->nonfinite += isfinite(v->value[i]) ? 0 : 1;
    }
    l->mean = sum / (double)n;
    l->rms = sqrt(squares / (double)n);
    l->max_abs = top;
}

static void count_bytes(struct qualify_row *row, const struct gguf *g)
{
    for (size_t i = 0; i < g->n_tensors; i++) row->bytes += g->tensors[i].bytes;
    row->bits_per_weight = info_bits_of_matrices(g);
}

/* The largest logits of a position, in order; equal ones by lowest id. */
static void find_top(struct qualify_row *row, const double *logits, size_t n,
                     const struct engine_model *m)
{
    row->n_top = n < QUALIFY_TOP ? n : QUALIFY_TOP;
    for (size_t k = 0; k < row->n_top; k++) {
        size_t best = n;
        for (size_t i = 0; i < n; i++) {
            bool taken = false;
            for (size_t j = 0; j < k; j++) taken = taken || (size_t)row->top[j].id == i;
            if (!taken && (best == n || logits[i] > logits[best])) best = i;
        }
        size_t len = 0;
        const char *text =
            engine_tokenizer(m) ? token_text(engine_tokenizer(m), (int32_t)best, &len) : "";
        snprintf(row->top_text[k], QUALIFY_TEXT, "%.*s", (int)(len < QUALIFY_TEXT ? len : 0), text);
        row->top[k] = (struct report_top){(int32_t)best, row->top_text[k], logits[best]};
    }
    row->margin = row->n_top > 1 ? row->top[0].logit - row->top[1].logit : 0;
}

/* The second verdict: the type against the master, by the reference on both. */
static void measure_effect(struct qualify_row *row, const struct qualify *q, const double *logits,
                           size_t n_vocab)
{
    const struct prompt_set *p = q->prompts;
    size_t at = 0;
    row->prompts = p->n;
    row->kl_mean = row->kl_max = NAN;
    if (!q->master) return;
    row->kl_mean = row->kl_max = 0;
    for (size_t i = 0; i < p->n; i++) {
        for (size_t k = 0; k < p->lengths[i]; k++, at++) {
            double kl = kl_of_logits(q->master + at * n_vocab, logits + at * n_vocab, n_vocab);
            row->kl_mean += kl / (double)p->n_tokens;
            row->kl_max = fmax(row->kl_max, kl);
        }
        const double *last = logits + (at - 1) * n_vocab, *master = q->master + (at - 1) * n_vocab;
        row->same_top += ref_argmax(last, n_vocab) == ref_argmax(master, n_vocab);
    }
}

/* What the reference says takes as long as the subjects: a thread of its own finds it meanwhile. */
struct truth {
    const struct prompt_set *prompts;
    const struct ref_model *ref;
    struct expected x;
    struct layer_stats stats;
    enum status st;
    struct err e;
};

static void *find_truth(void *arg)
{
    struct truth *t = arg;
    const struct prompt_set *p = t->prompts;
    struct ref_forward probe = {.ctx = &t->stats,
                                .want = want_residual,
                                .take = take_residual,
                                .n_ctx = (uint32_t)p->longest};
    t->stats.layers = alloc_array(ref_model_shape(t->ref).n_layers, sizeof *t->stats.layers);
    t->st = t->stats.layers ? expected_make(&t->x, t->ref, p->tokens, p->lengths, p->n, TYPE_F32,
                                            TYPE_F32, &probe, &t->e)
                            : fail(&t->e, ST_NOMEM, "no memory for layer statistics");
    return NULL;
}

/* ---- conformance ------------------------------------------------------------------------- */

/* ST_OK: it is open and evaluates models. */
static enum status open_subject(const struct subject **out, const char *name, struct err *e)
{
    enum status st = subject_open(out, name, e);
    if (st == ST_OK && !(*out)->backend)
        st = fail(e, ST_UNSUPPORTED, "%s does not evaluate models", name);
    return st;
}

static void note_failure(struct qualify_subject *s, enum status st, const struct err *e)
{
    s->verdict = VERDICT_NOT_RUN;
    s->status = st == ST_NO_DEVICE || st == ST_UNSUPPORTED ? CASE_SKIP : CASE_FAIL;
    snprintf(s->reason, sizeof s->reason, "%.255s", e->text);
}

/* got: its logits of the prompts of x. */
static enum status run_subject(float **got, const struct qualify_subject *s, struct engine_model *m,
                               const struct expected *x, const struct qualify *q, struct err *e)
{
    const struct subject *subject;
    enum status st = open_subject(&subject, s->name, e);
    size_t longest = q->prompts->longest;
    struct engine_session_options o = {.n_ctx = longest, .n_batch = longest < 512 ? longest : 512};
    struct engine_session *session = NULL;
    if (st == ST_OK) st = engine_session_open(&session, m, subject->backend, &o, e);
    if (st == ST_OK) st = judge_collect(got, session, x, JUDGE_AT_ONCE, e);
    engine_session_close(session);
    return st;
}

/* NULL with the reason in s if it did not run. */
static float *logits_of_subject(struct qualify_subject *s, struct engine_model *m,
                                const struct qualify *q)
{
    const struct prompt_set *p = q->prompts;
    const struct expected asked = {.tokens = p->tokens,
                                   .lengths = p->lengths,
                                   .n_prompts = p->n,
                                   .n_tokens = p->n_tokens,
                                   .n_vocab = engine_model_shape(m).n_vocab};
    struct err e = {0};
    float *got = NULL;
    enum status st = run_subject(&got, s, m, &asked, q, &e);
    s->verdict = VERDICT_NOT_RUN;
    if (st != ST_OK) note_failure(s, st, &e);
    return got;
}

static void judge_subject(struct qualify_subject *s, const float *got, const struct expected *x)
{
    judge_logits(&s->judged, got, x);
    s->verdict = s->judged.worst;
    s->status = s->judged.r.status;
}

/* The simulator is a test instrument: it takes part when asked for by name. */
static bool subject_at(const struct qualify *q, size_t i, char *name, size_t cap)
{
    if (q->subjects) return subject_name_at(q->subjects, i, name, cap) != NULL;
    const char *known;
    for (size_t k = 0; (known = backend_name_at(k)); k++) {
        const struct backend_ops *ops = backend_by_name(known);
        if ((ops && ops->simulated) || i-- > 0) continue;
        snprintf(name, cap, "%s", known);
        return true;
    }
    return false;
}

/* The row's next subject; NULL past the last. */
static struct qualify_subject *next_subject(struct qualify_row *row, const struct qualify *q)
{
    size_t i = row->n_subjects;
    if (i == QUALIFY_SUBJECTS ||
        !subject_at(q, i, row->subjects[i].name, sizeof row->subjects->name))
        return NULL;
    return &row->subjects[row->n_subjects++];
}

bool qualify_can_run(struct qualify_row *row, const struct qualify *q)
{
    const struct subject *subject;
    struct qualify_subject *s;
    bool can = false;
    *row = (struct qualify_row){.n_subjects = 0};
    while ((s = next_subject(row, q))) {
        struct err e = {0};
        enum status st = open_subject(&subject, s->name, &e);
        if (st != ST_OK) note_failure(s, st, &e);
        can = can || s->status != CASE_SKIP;
    }
    return can;
}

/* The reference and the subjects at the same time, then the verdicts. */
static enum status evaluate(struct qualify_row *row, const struct qualify *q,
                            const struct ref_model *ref, struct engine_model *m, struct err *e)
{
    const struct prompt_set *p = q->prompts;
    struct truth t = {.prompts = p, .ref = ref};
    float *got[QUALIFY_SUBJECTS] = {0};
    pthread_t thread;
    bool apart = pthread_create(&thread, NULL, find_truth, &t) == 0;
    if (!apart) find_truth(&t);
    struct qualify_subject *s;
    while ((s = next_subject(row, q))) got[s - row->subjects] = logits_of_subject(s, m, q);
    if (apart) pthread_join(thread, NULL);
    row->layers = t.stats.layers;
    row->n_layers = t.stats.n;
    if (t.st == ST_OK) {
        count_bytes(row, engine_model_gguf(m));
        find_top(row, t.x.logits + (p->lengths[0] - 1) * t.x.n_vocab, t.x.n_vocab, m);
        measure_effect(row, q, t.x.logits, t.x.n_vocab);
    } else {
        *e = t.e;
    }
    for (size_t i = 0; i < row->n_subjects; i++) {
        if (got[i] && t.st == ST_OK) judge_subject(&row->subjects[i], got[i], &t.x);
        free(got[i]);
    }
    expected_free(&t.x);
    return t.st;
}

enum status qualify_evaluate(struct qualify_row *row, const struct qualify *q, const char *type,
                             struct gguf *g, struct err *e)
{
    struct engine_model *m = NULL;
    struct ref_model *ref = NULL;
    *row = (struct qualify_row){.kl_mean = NAN};
    snprintf(row->type, sizeof row->type, "%s", type);
    enum status st = engine_model_from_gguf(&m, g, e);
    if (st == ST_OK) st = source_open(&ref, g, e);
    if (st == ST_OK) st = evaluate(row, q, ref, m, e);
    ref_model_close(ref);
    engine_model_close(m);
    return st;
}

void qualify_row_free(struct qualify_row *row)
{
    free(row->layers);
    row->layers = NULL;
}

enum status qualify_master(double **out, const struct prompt_set *p, const struct gguf *g,
                           struct err *e)
{
    struct ref_model *ref = NULL;
    struct ref_err why = {{0}, false};
    enum status st = source_open(&ref, g, e);
    if (st != ST_OK) return st;
    *out = alloc_array(p->n_tokens * ref_model_shape(ref).n_vocab, sizeof **out);
    struct ref_forward f = {.n_ctx = (uint32_t)p->longest,
                            .tokens = p->tokens,
                            .lengths = p->lengths,
                            .n_seqs = p->n,
                            .k_type = TYPE_F32,
                            .v_type = TYPE_F32};
    if (!*out)
        st = fail(e, ST_NOMEM, "no memory for %zu logits", p->n_tokens);
    else if (!ref_forward(ref, &f, *out, NULL, &why))
        st = fail(e, ST_RANGE, "%s", why.text);
    if (st != ST_OK) {
        free(*out);
        *out = NULL;
    }
    ref_model_close(ref);
    return st;
}

/* ---- the report -------------------------------------------------------------------------- */

void qualify_report(struct report *r, const struct qualify_row *row, const char *name,
                    const char *again)
{
    char shape[64];
    snprintf(shape, sizeof shape, "%.*s", (int)strcspn(name, "."), name);
    struct report_verdict v[QUALIFY_SUBJECTS];
    for (size_t i = 0; i < row->n_subjects; i++) {
        const struct qualify_subject *s = &row->subjects[i];
        v[i] = (struct report_verdict){.subject = s->name,
                                       .status = case_status_name(s->status),
                                       .verdict = verdict_name(s->verdict),
                                       .reason = *s->reason ? s->reason : NULL,
                                       .used = s->judged.r.used,
                                       .top_id = (int32_t)s->judged.first.got};
    }
    struct report_type t = {.type = row->type,
                            .bits_per_weight = row->bits_per_weight,
                            .bytes = row->bytes,
                            .top = row->top,
                            .n_top = row->n_top,
                            .margin = row->margin,
                            .kl_mean = row->kl_mean,
                            .kl_max = row->kl_max,
                            .same_top = row->same_top,
                            .prompts = row->prompts,
                            .subjects = v,
                            .n_subjects = row->n_subjects,
                            .layers = row->layers,
                            .n_layers = row->n_layers};
    report_type_add(r, &t);
    for (size_t i = 0; i < row->n_subjects; i++) {
        const struct qualify_subject *s = &row->subjects[i];
        struct case_result res = s->judged.r;
        struct case_id c = {.suite = "qualify",
                            .op = "logits",
                            .type = row->type,
                            .shape = shape,
                            .subject = s->name};
        res.status = s->status;
        if (s->verdict == VERDICT_NOT_RUN)
            res = (struct case_result){.status = s->status, .nmse_worst_row = NAN};
        snprintf(res.message, sizeof res.message, "%s", s->reason);
        char rerun[9000];
        snprintf(rerun, sizeof rerun, "assay qualify %s --type %s --subject %s", again, row->type,
                 s->name);
        report_case(r, &c, &res, 0, rerun);
    }
    report_checkpoint(r);
}
