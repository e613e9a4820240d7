/* Localisation on every architecture: the right engine is found right, and a change of any one site
 * of a layer is named by site, layer and operation. Random models of `assay synth`. */
#include "harness/files.h"
#include "engine/gguf/gguf.h"
#include "judge/bounds.h"
#include "locate/foreign.h"
#include "locate/run.h"
#include "selftest/locate.h"
#include "models/prompts.h"
#include "models/source.h"
#include "models/synth.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_TOKENS = 12, LAYER = 1 };

struct stage {
    struct gguf g;
    struct ref_model *ref;
    struct site_model model;
    struct prompt_set prompts;
    struct recording truth, got;
    struct compare_options how;
};

/* Judges the recording as it is now. */
static enum status judge(struct stage *s, struct locate *l, struct err *e)
{
    *l = (struct locate){.n_variants = 0};
    l->model = s->model;
    return foreign_recording(l, &s->truth, &s->got, &s->how, e);
}

static const struct finding *fault_of(const struct locate *l)
{
    if (l->fault.kind == LOCATED_NOTHING) return NULL;
    return &l->variants[l->fault.variant].findings[l->fault.finding];
}

/* The shares of values that are 1.5 times too large; a site that is computed here from the engine's
 * own values is judged alone, others by what the reference propagates. */
static void change_site(struct test *t, struct stage *s, struct record_site *site)
{
    const size_t n = site->rows * site->cols;
    struct locate l;
    struct err e = {0};
    float *kept = test_alloc(t, n, sizeof *kept);
    if (!kept) return;
    memcpy(kept, site->got, n * sizeof *kept);
    for (size_t i = 0; i < n; i++) site->got[i] *= 1.5f;
    if (test_ok(t, judge(s, &l, &e), &e)) {
        const struct finding *f = fault_of(&l);
        const struct ref_site fact = ref_site_of(s->model.ref, site->site, site->layer);
        const bool linear = fact.kind == REF_SITE_LINEAR;
        test_check(t, f && f->site == site->site && f->layer == site->layer,
                   "a change of %s in layer %u was judged: %.300s", site_table[site->site].name,
                   site->layer, l.verdict);
        test_check(t, fact.kind == REF_SITE_SEVERAL || l.fault.kind == LOCATED_SITE,
                   "%s was not judged from its inputs: %.300s", site_table[site->site].name,
                   l.verdict);
        test_check(t, !linear || strstr(l.fault.op, ".weight"), "no tensor is named: %.300s",
                   l.verdict);
        test_check(t, fact.kind == REF_SITE_SEVERAL || strstr(l.fault.cause, "1.5 times"),
                   "%s: the cause was said to be '%s'", site_table[site->site].name, l.fault.cause);
    }
    locate_free(&l);
    memcpy(site->got, kept, n * sizeof *kept);
}

static void change_all(struct test *t, struct stage *s)
{
    struct locate l;
    struct err e = {0};
    size_t n_sites = 0;
    if (!test_ok(t, judge(s, &l, &e), &e)) return;
    test_check(t, l.fault.kind == LOCATED_NOTHING, "unchanged: %.400s", l.verdict);
    locate_free(&l);
    for (size_t i = 0; i < s->got.n; i++) {
        struct record_site *site = &s->got.sites[i];
        const bool of_layer = site_table[site->site].scope == SITE_LAYER;
        if (of_layer && site->layer != LAYER) continue;
        /* Scores near zero, or one cell only: 1.5 times is no change of weights that add to 1. */
        if (!record_find(&s->truth, site->site, site->layer)) continue;
        test_check(t, !of_layer || ref_site_there(s->model.ref, site->site, LAYER),
                   "%s is shown, though the layer should have none", site_table[site->site].name);
        change_site(t, s, site);
        n_sites++;
    }
    test_check(t, n_sites >= 12, "only %zu sites were shown", n_sites);
}

/* What the reference says of a site, against what its pass did: it has the site or has not, and
 * from the pass's inputs comes the pass's value, but for the order of sums in double. */
static void check_answer(struct test *t, const struct stage *s, enum site site, uint32_t layer)
{
    const struct record_site *r = record_find(&s->truth, site, layer);
    const struct ref_site made = ref_site_of(s->ref, site, layer);
    const bool there = ref_site_there(s->ref, site, layer);
    const char *name = site_table[site].name;
    struct ref_site_job j = {.m = s->ref,
                             .site = site,
                             .layer = layer,
                             .tokens = s->prompts.tokens,
                             .n_tokens = N_TOKENS,
                             .rows = N_TOKENS};
    if (!test_check(t, (r != NULL) == there,
                    "%s of layer %u: the pass %s it, the reference says %s", name, layer,
                    r ? "shows" : "does not show", there ? "yes" : "no"))
        return;
    if (!r || made.kind == REF_SITE_SEVERAL) return;
    for (size_t i = 0; i < made.n_in; i++) {
        const struct record_site *in = record_find(&s->truth, made.in[i], made.in_layer[i]);
        if (!test_check(t, in, "%s of layer %u: the pass does not show input %zu", name, layer, i))
            return;
        j.in[i] = in->value;
    }
    const size_t n = r->rows * r->cols;
    size_t wrong = 0;
    double *y = test_alloc(t, n, sizeof *y);
    if (!y ||
        !test_check(t, ref_site_value(&j, y, NULL), "%s of layer %u has no value", name, layer))
        return;
    for (size_t i = 0; i < n; i++)
        wrong += !(y[i] == r->value[i] || fabs(y[i] - r->value[i]) <= r->local[i]);
    test_check(t, wrong == 0, "%s of layer %u: %zu of %zu values are not the pass's", name, layer,
               wrong, n);
}

static void check_answers(struct test *t, const struct stage *s)
{
    for (uint32_t layer = 0; layer < s->model.shape.n_layers; layer++)
        for (int site = 0; site < SITE_COUNT; site++)
            if (layer == 0 || site_table[site].scope == SITE_LAYER)
                check_answer(t, s, (enum site)site, layer);
}

static enum status open_stage(struct stage *s, const char *path, const char *arch,
                              const struct type_spec *type, struct err *e)
{
    static const size_t lengths[] = {N_TOKENS};
    const struct synth_options o = {
        .arch = arch, .shape = "tiny", .type = type, .out = path, .seed = 1};
    struct synth_done done;
    enum status st = synth_write(&o, &done, e);
    if (st == ST_OK) st = gguf_open(&s->g, path, e);
    if (st == ST_OK) st = source_open(&s->ref, &s->g, e);
    if (st != ST_OK) return st;
    s->model = site_model_of(&s->g, s->ref);
    return prompts_random(&s->prompts, 3, lengths, 1, s->model.shape.n_vocab, e);
}

static void close_stage(struct stage *s, const char *dir)
{
    record_close(&s->truth);
    record_close(&s->got);
    prompts_free(&s->prompts);
    ref_model_close(s->ref);
    gguf_close(&s->g);
    temp_remove(dir);
}

/* ---- engines that round what enters their products ------------------------------------------- */

/* How far a pass with rounded inputs is from the exact one, in parts of what the reference allows;
 * and that the reference's own rounding is that of the pass, made site by site. */
static void measure_rounding(struct test *t, const struct recording *exact,
                             const struct recording *rounded, const struct recording *low)
{
    double squares = 0, n = 0, apart = 0;
    for (size_t i = 0; i < exact->n; i++) {
        const struct record_site *want = &exact->sites[i];
        const struct record_site *own = record_find(rounded, want->site, want->layer);
        const struct record_site *got = record_find(low, want->site, want->layer);
        if (!test_check(t, own && got, "no %s", site_table[want->site].name)) return;
        for (size_t k = 0; k < want->rows * want->cols; k++) {
            const double dev = own->dev[k], used = fabs(got->value[k] - want->value[k]) / dev;
            if (!isfinite(want->value[k]) || !(dev > 1e-5 * fabs(want->value[k]))) continue;
            apart = fmax(apart, fabs(got->value[k] - own->value[k]) / dev);
            if (!(used <= t->result.used)) t->result.used = used;
            const double deviations = bound_rounding_deviations() * used;
            squares += deviations * deviations;
            n++;
        }
    }
    t->result.nmse_worst_row = NAN;
    const double rms = sqrt(squares / n);
    test_check(t, t->result.used <= 1, "%.3g of the bound is used", t->result.used);
    test_check(t, apart <= 1e-6, "the reference rounds otherwise: by %.3g of the bound", apart);
    test_check(t, rms > 0.65 && rms < 1.1, "%.0f values are off by %.3g standard deviations", n,
               rms);
}

/* Every value moves by what is derived from the step of the rounding: never by more, and on the
 * whole by no less either. */
void locate_rounding_case(struct test *t, const struct test_case *c)
{
    struct stage s = {.truth = {.fd = -1}, .got = {.fd = -1}};
    struct recording exact = {.fd = -1};
    struct err e = {0};
    const char *dir = temp_dir(t), *path = dir ? dir_path(t, dir, "model") : NULL;
    if (!path) return;
    enum status st = open_stage(&s, path, "llama", type_by_name(c->type), &e);
    const struct precision q8 = {TYPE_ID_END, SUM_F64, TYPE_F32};
    struct locate_options lo = {.tokens = s.prompts.tokens, .n_tokens = N_TOKENS};
    if (st == ST_OK) st = locate_reference(&exact, s.ref, &lo, TYPE_F32, &e);
    lo.activations = TYPE_ID_END;
    if (st == ST_OK) st = locate_reference(&s.truth, s.ref, &lo, TYPE_F32, &e);
    if (st == ST_OK) st = site_forward(&s.model, lo.tokens, N_TOKENS, &q8, false, &s.got, NULL, &e);
    if (test_ok(t, st, &e)) measure_rounding(t, &exact, &s.truth, &s.got);
    record_close(&exact);
    close_stage(&s, dir);
}

void locate_arch_case(struct test *t, const struct test_case *c)
{
    struct stage s = {.truth = {.fd = -1}, .got = {.fd = -1}};
    struct err e = {0};
    const struct variant how = {"arch", "", false, true, false, 0, TYPE_F32};
    const char *dir = temp_dir(t), *path = dir ? dir_path(t, dir, "model") : NULL;
    if (!path) return;
    enum status st = open_stage(&s, path, c->shape, type_by_id(TYPE_F32), &e);
    const struct locate_options lo = {.tokens = s.prompts.tokens, .n_tokens = N_TOKENS};
    s.how = (struct compare_options){
        .tokens = s.prompts.tokens, .n_tokens = N_TOKENS, .precision = precision_exact};
    if (st == ST_OK) st = foreign_truth(&s.truth, &s.model, &s.how, false, &e);
    if (st == ST_OK) st = locate_capture(&s.got, &s.g, "cpu", &how, &lo, &e);
    if (test_ok(t, st, &e)) {
        check_answers(t, &s);
        change_all(t, &s);
    }
    close_stage(&s, dir);
}
