/* The suite of localisation: right engines have no defect, changed values are named, and what is
 * written is read back. Whole engines with faults are in suites/stories/. */
#include "selftest/selftest.h"
#include "trace/callback_log.h"
#include "judge/effect.h"
#include "models/prompt_tokens.h"
#include "locate/foreign.h"
#include "locate/run.h"
#include "selftest/locate.h"
#include "models/source.h"
#include "models/synth.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the cases share: primer-4m in a type, its reference, its prompt. */
struct bench {
    struct gguf g;
    struct ref_model *ref;
    struct site_model model;
    int32_t *ids;
    size_t n;
};

static bool bench_open(struct bench *b, struct test *t, const char *type)
{
    char path[4096];
    struct err e = {0};
    struct engine_model *m = NULL;
    *b = (struct bench){.ref = NULL};
    snprintf(path, sizeof path, "%s/models/primer-4m-%s.gguf.gz", t->options->vectors, type);
    if (!test_ok(t, gguf_open(&b->g, path, &e), &e)) return false;
    enum status st = engine_model_from_gguf(&m, &b->g, &e);
    if (st == ST_OK) st = prompt_tokens(m, NULL, NULL, &b->ids, &b->n, &e);
    engine_model_close(m);
    if (st == ST_OK) st = source_open(&b->ref, &b->g, &e);
    if (!test_ok(t, st, &e)) {
        free(b->ids);
        gguf_close(&b->g);
        return false;
    }
    b->model = site_model_of(&b->g, b->ref);
    return true;
}

static void bench_close(struct bench *b)
{
    ref_model_close(b->ref);
    free(b->ids);
    gguf_close(&b->g);
}

/* ---- right engines --------------------------------------------------------------------------- */

static void run_clean(struct test *t, const struct test_case *c)
{
    struct bench b;
    struct locate l = {.n_variants = 0};
    const struct subject *s;
    struct err e = {0};
    if (!test_ok(t, subject_open(&s, c->subject, &e), &e)) return;
    if (!bench_open(&b, t, c->arg)) return;
    const struct locate_options o = {.tokens = b.ids, .n_tokens = b.n};
    if (test_ok(t, locate_run(&l, &b.g, s, &o, &e), &e)) {
        size_t n_sites = 0;
        for (size_t i = 0; i < l.n_variants; i++) {
            for (size_t k = 0; k < l.variants[i].n; k++) {
                const struct finding *f = &l.variants[i].findings[k];
                if (f->has_local && f->local.used > t->result.used) t->result.used = f->local.used;
                n_sites += f->has_local && f->has_free;
            }
        }
        test_check(t, l.fault.kind == LOCATED_NOTHING, "%.500s", l.verdict);
        test_check(t, n_sites > 100, "only %zu sites were judged", n_sites);
        struct backend_stats stats;
        backend_ops_of(s->backend)->stats(s->backend, &stats);
        t->result.dispatches = stats.dispatches;
    }
    locate_free(&l);
    bench_close(&b);
}

/* ---- changed values -------------------------------------------------------------------------- */

enum change {
    CHANGE_SCALED,
    CHANGE_SHIFTED,
    CHANGE_CLIPPED,
    CHANGE_ONE,
    CHANGE_ZERO,
    CHANGE_NAN,
    CHANGE_SUM
};

static const struct damage {
    const char *name;
    enum site site;
    uint32_t layer;
    enum change change;
    const char *cause; /* the sentence holds it; "" = any */
} damages[] = {
    {"embd", SITE_EMBD, 0, CHANGE_SHIFTED, "shifted"},
    {"attn_norm", SITE_ATTN_NORM, 1, CHANGE_SCALED, "1.5 times"},
    {"q", SITE_Q, 2, CHANGE_SHIFTED, "rows of the weights shifted"},
    {"k", SITE_K, 3, CHANGE_SCALED, "1.5 times"},
    {"v", SITE_V, 0, CHANGE_ZERO, "zero"},
    {"q_rope", SITE_Q_ROPE, 4, CHANGE_ONE, ""},
    {"k_rope", SITE_K_ROPE, 5, CHANGE_CLIPPED, "clipped"},
    {"kq", SITE_SCORES, 1, CHANGE_SCALED, "1.5 times"},
    {"kq_soft_max", SITE_WEIGHTS, 2, CHANGE_ONE, ""},
    {"kqv", SITE_ATTN, 3, CHANGE_SCALED, "1.5 times"},
    {"attn_out", SITE_ATTN_OUT, 5, CHANGE_NAN, "not finite"},
    {"ffn_inp", SITE_RESID_1, 0, CHANGE_CLIPPED, "clipped"},
    {"ffn_norm", SITE_FFN_NORM, 2, CHANGE_SCALED, "1.5 times"},
    {"ffn_gate", SITE_GATE, 1, CHANGE_ONE, ""},
    {"ffn_up", SITE_UP, 4, CHANGE_SHIFTED, "rows of the weights shifted"},
    {"ffn_act", SITE_ACT, 3, CHANGE_CLIPPED, "clipped"},
    {"ffn_out", SITE_FFN_OUT, 2, CHANGE_SCALED, "1.5 times"},
    {"l_out", SITE_RESID_2, 4, CHANGE_ZERO, "zero"},
    {"result_norm", SITE_NORM, 0, CHANGE_SCALED, "1.5 times"},
    {"result_output", SITE_LOGITS, 0, CHANGE_ONE, ""},
};

static void damage_values(struct record_site *s, enum change change)
{
    const size_t n = s->rows * s->cols;
    const float first = s->got[0];
    float top = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(s->got[i])) top = fmaxf(top, fabsf(s->got[i]));
    for (size_t i = 0; i < n; i++) {
        if (change == CHANGE_SCALED) s->got[i] *= 1.5f;
        if (change == CHANGE_SHIFTED) s->got[i] = i + 1 < n ? s->got[i + 1] : first;
        if (change == CHANGE_CLIPPED) s->got[i] = fminf(fmaxf(s->got[i], -top / 2), top / 2);
        if (change == CHANGE_ZERO) s->got[i] = 0;
    }
    if (change == CHANGE_ONE) s->got[n / 2 - n / 2 % s->cols] += 0.5f;
    if (change == CHANGE_NAN) s->got[7] = NAN;
}

/* A recording of the right engine with one site changed must be named; unchanged, nothing. */
static void run_damage(struct test *t, const struct test_case *c)
{
    const struct damage *d = &damages[c->index];
    struct bench b;
    struct recording truth = {.fd = -1}, got = {.fd = -1};
    struct locate l = {.n_variants = 0};
    struct err e = {0};
    if (!bench_open(&b, t, "Q4_K_M")) return;
    l.model = b.model;
    const struct variant how = {"damage", "", false, true, false, 0, TYPE_F32};
    const struct locate_options lo = {.tokens = b.ids, .n_tokens = b.n};
    const struct compare_options o = {
        .tokens = b.ids, .n_tokens = b.n, .precision = precision_exact};
    enum status st = foreign_truth(&truth, &b.model, &o, false, &e);
    if (st == ST_OK) st = locate_capture(&got, &b.g, "cpu", &how, &lo, &e);
    if (st == ST_OK) {
        struct record_site *s = record_find(&got, d->site, d->layer);
        if (test_check(t, s != NULL, "the engine did not show %s", d->name))
            damage_values(s, d->change);
        st = foreign_recording(&l, &truth, &got, &o, &e);
    }
    if (test_ok(t, st, &e)) {
        const struct finding *f =
            l.n_variants ? &l.variants[l.fault.variant].findings[l.fault.finding] : NULL;
        test_check(t, l.fault.kind == LOCATED_SITE && f->site == d->site && f->layer == d->layer,
                   "the change of %s in layer %u was judged: %.400s", d->name, d->layer, l.verdict);
        test_check(t, strstr(l.fault.cause, d->cause) != NULL, "the cause was said to be '%s'",
                   l.fault.cause);
    }
    locate_free(&l);
    record_close(&truth);
    record_close(&got);
    bench_close(&b);
}

/* ---- trace files ----------------------------------------------------------------------------- */

static bool same_values(const struct record_site *a, const struct record_site *b)
{
    if (!b || a->rows != b->rows || a->cols != b->cols) return false;
    return memcmp(a->got, b->got, a->rows * a->cols * sizeof *a->got) == 0;
}

static void check_trace(struct test *t, const struct recording *got, const struct recording *back,
                        const struct trace_info *wrote, const struct trace_info *read)
{
    test_check(t, got->n == back->n && got->n > 100, "%zu sites written, %zu read", got->n,
               back->n);
    test_check(t,
               read->n_tokens == wrote->n_tokens &&
                   memcmp(read->tokens, wrote->tokens, read->n_tokens * sizeof(int32_t)) == 0,
               "the tokens are not those that were written");
    test_check(t, read->precision.activations == TYPE_F16 && read->precision.kv == TYPE_F16,
               "the precision is not the one that was written");
    for (size_t i = 0; i < got->n; i++)
        test_check(
            t,
            same_values(&got->sites[i], record_find(back, got->sites[i].site, got->sites[i].layer)),
            "%s of layer %u came back otherwise", site_table[got->sites[i].site].name,
            got->sites[i].layer);
}

static void run_trace(struct test *t, const struct test_case *c)
{
    struct bench b;
    struct recording got = {.fd = -1}, back = {.fd = -1};
    struct trace_info read = {.tokens = NULL};
    struct gguf g = {0};
    struct err e = {0};
    char path[64] = "/tmp/assay-trace-XXXXXX";
    (void)c;
    if (!bench_open(&b, t, "f16")) return;
    const struct variant how = {"trace", "", false, true, false, 0, TYPE_F16};
    const struct locate_options o = {.tokens = b.ids, .n_tokens = b.n};
    struct trace_info wrote = {.tokens = b.ids,
                               .n_tokens = b.n,
                               .precision = {TYPE_F16, SUM_F64, TYPE_F16},
                               .declared = true,
                               .subject = "cpu"};
    const int fd = mkstemp(path);
    if (fd >= 0) close(fd);
    const struct trace_shape shape = {b.model.shape.n_layers, b.model.shape.n_heads,
                                      b.model.hyper.kq_scale, &b.model};
    enum status st = locate_capture(&got, &b.g, "cpu", &how, &o, &e);
    if (st == ST_OK) st = trace_write(&got, &wrote, path, NULL, NULL, &e);
    if (st == ST_OK) st = gguf_open(&g, path, &e);
    if (st == ST_OK) {
        test_check(t, trace_is(&g) && !trace_is(&b.g), "a trace is not told from a model");
        st = trace_read(&back, &read, &g, &shape, &e);
    }
    if (test_ok(t, st, &e)) check_trace(t, &got, &back, &wrote, &read);
    unlink(path);
    trace_info_free(&read);
    if (g.n_tensors) gguf_close(&g);
    record_close(&got);
    record_close(&back);
    bench_close(&b);
}

static void run_names(struct test *t, const struct test_case *c)
{
    static const struct {
        const char *name;
        uint32_t n_dims;
        enum site site; /* SITE_COUNT: no site */
        uint32_t layer;
    } rows[] = {
        {"q-3", 2, SITE_Q, 3},
        {"Qcur-0", 2, SITE_Q, 0},
        {"Qcur-12", 3, SITE_Q_ROPE, 12},
        {"Kcur_rope-1", 2, SITE_K_ROPE, 1},
        {"q-3", 3, SITE_COUNT, 3},
        {"kqv-3", 3, SITE_COUNT, 3},
        {"kqv-3", 2, SITE_ATTN, 3},
        {"sa_out-1", 2, SITE_RESID_1, 1},
        {"inp_scaled", 2, SITE_EMBD, 0},
        {"ffn_up_b-1", 2, SITE_UP, 1},
        {"ffn_moe_out-1", 2, SITE_FFN_OUT, 1},
        {"ffn_norm-3", 2, SITE_FFN_NORM, 3},
        {"l_out-21", 2, SITE_RESID_2, 21},
        {"result_output", 2, SITE_LOGITS, 0},
        {"inp_embd", 2, SITE_EMBD, 0},
        {"kqv_out-7", 2, SITE_ATTN, 7},
        {"ffn_gate_par-2", 2, SITE_ACT, 2},
        {"result_norm", 1, SITE_NORM, 0},
        {"q", 2, SITE_COUNT, 0},
        {"result_output-1", 2, SITE_COUNT, 0},
        {"norm-0", 2, SITE_COUNT, 0},
        {"q-", 2, SITE_COUNT, 0},
        {"-3", 2, SITE_COUNT, 0},
        {"q-9999999", 2, SITE_COUNT, 0},
    };
    (void)c;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum site site;
        uint32_t layer;
        const bool is =
            trace_name(rows[i].name, strlen(rows[i].name), rows[i].n_dims, &site, &layer);
        test_check(t,
                   is == (rows[i].site != SITE_COUNT) &&
                       (!is || (site == rows[i].site && layer == rows[i].layer)),
                   "the name %s with %u dimensions is misunderstood", rows[i].name, rows[i].n_dims);
    }
}

/* ---- logs ------------------------------------------------------------------------------------ */

/* Which tensor of the log is changed, and how; index 0: none is. */
static const struct log_change {
    const char *shape;
    enum site site;
    uint32_t layer;
    enum change change;
} log_changes[] = {
    {"as-it-is", SITE_COUNT, 0, CHANGE_ONE},
    {"k-3", SITE_K, 3, CHANGE_SCALED},
    {"embd", SITE_EMBD, 0, CHANGE_ONE},
    {"ffn_out-2", SITE_FFN_OUT, 2, CHANGE_ONE},
    {"q_rope-4", SITE_Q_ROPE, 4, CHANGE_SCALED},
    {"kq-1", SITE_SCORES, 1, CHANGE_SCALED},
    {"kqv-5", SITE_ATTN, 5, CHANGE_ZERO},
    {"l_out-4", SITE_RESID_2, 4, CHANGE_SCALED},
    {"logits", SITE_LOGITS, 0, CHANGE_SCALED},
    {"sum-ffn_up-3", SITE_UP, 3, CHANGE_SUM},
    {"one-l_out-5", SITE_RESID_2, 5, CHANGE_ONE},
    {"sum-l_out-0", SITE_RESID_2, 0, CHANGE_SUM},
    {"sum-ffn_out-5", SITE_FFN_OUT, 5, CHANGE_SUM},
    {"nan-v-2", SITE_V, 2, CHANGE_NAN},
    {"sum-logits", SITE_LOGITS, 0, CHANGE_SUM},
};

static void change_log(struct callback_log *log, const struct log_change *k)
{
    for (size_t i = 0; i < log->n; i++) {
        struct log_tensor *s = &log->tensors[i];
        if (s->site != k->site || s->layer != k->layer) continue;
        if (k->change == CHANGE_SUM) s->sum += 0.5;
        if (k->change == CHANGE_NAN) s->values[0] = NAN;
        if (k->change == CHANGE_ONE) s->values[s->n / 2] += 1;
        for (size_t v = 0; v < s->n; v++) {
            if (k->change == CHANGE_SCALED) s->values[v] *= 1.5;
            if (k->change == CHANGE_ZERO) s->values[v] = 0;
        }
    }
}

/* A log that ends early, or of a pass of another length, is no pass that was seen whole. */
static void check_cut(struct test *t, const struct bench *b, const struct recording *truth,
                      struct callback_log *log, const struct compare_options *o)
{
    struct locate l = {.model = b->model};
    struct compare_options other = *o;
    struct err e = {0};
    log->n = log->n / 2;
    if (test_ok(t, foreign_log(&l, truth, log, o, &e), &e))
        test_check(t,
                   strstr(l.verdict, "sites of the pass are not in it (the first: layer") != NULL,
                   "half of a log was judged: %.400s", l.verdict);
    locate_free(&l);
    l = (struct locate){.model = b->model};
    other.n_tokens = o->n_tokens + 1;
    test_check(t, foreign_log(&l, truth, log, &other, &e) == ST_FORMAT && strstr(e.text, "BOS"),
               "a pass of fewer tokens was judged: %.400s", e.text);
    locate_free(&l);
}

static void run_log(struct test *t, const struct test_case *c)
{
    const struct log_change *k = &log_changes[c->index];
    struct bench b;
    struct file f;
    struct callback_log log = {.n = 0};
    struct recording truth = {.fd = -1};
    struct locate l = {.n_variants = 0};
    struct err e = {0};
    char path[4096];
    if (!bench_open(&b, t, c->type)) return;
    l.model = b.model;
    snprintf(path, sizeof path, "%s/logs/primer-4m-%s.log.gz", t->options->vectors, c->type);
    enum status st = file_open(&f, path, &e);
    if (st == ST_OK) {
        test_check(t, callback_log_is(f.bytes), "the log is not told from other files");
        st = callback_log_read(&log, f.bytes, &e);
        file_close(&f);
    }
    struct compare_options o = {
        .tokens = b.ids, .n_tokens = b.n, .precision = {TYPE_ID_END, SUM_F64, log.kv}};
    test_check(t, log.kv == TYPE_F16, "the log's cache is f16");
    change_log(&log, k);
    if (st == ST_OK) st = foreign_truth(&truth, &b.model, &o, true, &e);
    if (st == ST_OK) st = foreign_log(&l, &truth, &log, &o, &e);
    if (test_ok(t, st, &e)) {
        const struct finding *first = &l.variants[0].findings[l.fault.finding];
        if (k->site == SITE_COUNT)
            test_check(t, l.fault.kind == LOCATED_NOTHING && l.variants[0].n == 105, "%.500s",
                       l.verdict);
        else
            test_check(t,
                       l.fault.kind == LOCATED_SITE && first->site == k->site &&
                           first->layer == k->layer,
                       "the change of %s was judged: %.400s", k->shape, l.verdict);
        if (k->site == SITE_COUNT) check_cut(t, &b, &truth, &log, &o);
    }
    locate_free(&l);
    record_close(&truth);
    callback_log_free(&log);
    bench_close(&b);
}

/* ---- effect ---------------------------------------------------------------------------------- */

/* The master against itself costs nothing; Q4_K_M costs more, and the more the lower the
 * precision of the engine. */
static void run_effect(struct test *t, const struct test_case *c)
{
    struct bench master, low;
    struct effect x = {.logits = NULL};
    struct effect_row same = {.n_layers = 0}, less = {.n_layers = 0};
    struct effect_precision f16, q8;
    struct err e = {0};
    (void)c;
    if (!bench_open(&master, t, "f16")) return;
    if (!bench_open(&low, t, "Q4_K_M")) {
        bench_close(&master);
        return;
    }
    const struct effect_text text = {master.ids, &master.n, 1, master.n};
    const struct precision as_f16 = {TYPE_F16, SUM_F64, TYPE_F32},
                           as_q8 = {TYPE_ID_END, SUM_F64, TYPE_F32};
    enum status st = effect_open(&x, &master.g, &text, NULL, NULL, &e);
    if (st == ST_OK) st = effect_measure(&same, &x, "f16", &master.g, false, &e);
    if (st == ST_OK) st = effect_measure(&less, &x, "Q4_K_M", &low.g, false, &e);
    if (st == ST_OK) st = effect_study(&f16, &x, &low.g, &as_f16, 64, &e);
    if (st == ST_OK) st = effect_study(&q8, &x, &low.g, &as_q8, 64, &e);
    if (test_ok(t, st, &e)) {
        test_check(t, same.kl_max < 1e-10 && same.top1.value == 1 && same.grade == GRADE_SAME,
                   "the master differs from itself: KL %g", same.kl_max);
        test_check(t, fabs(same.ppl_ratio.value - 1) < 1e-5, "its perplexity ratio is %g",
                   same.ppl_ratio.value);
        test_check(t, same.n_layers == 6 && same.layers[5].relative == 0, "its layers differ");
        test_check(t, less.kl.value > 1e-5 && less.kl.value < 1 && less.kl_max >= less.kl_p99,
                   "Q4_K_M has a mean KL of %g", less.kl.value);
        test_check(t, less.layers[0].relative > 1e-3, "its first layer is off by %g",
                   less.layers[0].relative);
        test_check(t,
                   f16.kl_mean > 0 && q8.kl_mean > 10 * f16.kl_mean && f16.n_positions == master.n,
                   "f16 costs %g, 8 bits %g", f16.kl_mean, q8.kl_mean);
    }
    effect_row_free(&same);
    effect_row_free(&less);
    effect_close(&x);
    bench_close(&low);
    bench_close(&master);
}

/* ---- the list -------------------------------------------------------------------------------- */

static void add(struct case_list *l, const char *op, const char *type, const char *shape,
                const char *subject, size_t index,
                void (*run)(struct test *, const struct test_case *))
{
    const struct test_case c = {.suite = "locate",
                                .op = op,
                                .type = type,
                                .shape = shape,
                                .subject = subject,
                                .quick = strcmp(op, "clean") != 0 && index < 2,
                                .run = run,
                                .arg = type,
                                .index = index};
    case_add(l, &c);
}

void suite_locate(struct case_list *l)
{
    static const char *const types[] = {"f16", "Q4_K_M"};
    static const char *const rounded[] = {"f16", "bf16", "q8_0", "q4_1", "q4_K", "iq2_xxs"};
    char name[SUBJECT_NAME];
    for (size_t s = 0; subject_name_at(l->options->subjects, s, name, sizeof name); s++)
        for (size_t i = 0; i < 2; i++)
            if (strcmp(name, "reference") != 0)
                add(l, "clean", types[i], NULL, case_text(l, "%s", name), 0, run_clean);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++)
        add(l, "damage", NULL, damages[i].name, NULL, i, run_damage);
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < sizeof log_changes / sizeof *log_changes; k++)
            add(l, "log", types[i], log_changes[k].shape, NULL, k, run_log);
    for (size_t i = 0; synth_arch(i); i++)
        add(l, "arch", NULL, synth_arch(i), NULL, i, locate_arch_case);
    for (size_t i = 0; i < sizeof rounded / sizeof *rounded; i++)
        add(l, "rounding", rounded[i], NULL, NULL, i, locate_rounding_case);
    for (size_t i = 0; locate_cause(i); i++)
        add(l, "cause", NULL, locate_cause(i), NULL, i, locate_cause_case);
    add(l, "trace", NULL, "roundtrip", NULL, 0, run_trace);
    add(l, "trace", NULL, "names", NULL, 0, run_names);
    add(l, "effect", NULL, "primer-4m", NULL, 0, run_effect);
}
