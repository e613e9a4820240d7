/* The suite of random models: every architecture opens in the reference, its activations keep their
 * size, experts are told apart by more than rounding, and the same seed gives the same file. */
#include "selftest/selftest.h"
#include "harness/files.h"
#include "engine/gguf/gguf.h"
#include "models/prompts.h"
#include "reports/hash.h"
#include "models/source.h"
#include "models/synth.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N_TOKENS = 24, MAX_EXPERTS = 256 };

struct seen {
    double least, most; /* RMS of the residual stream, over layers */
    double gap;         /* smallest between neighbouring router logits, over their deviation */
    size_t nonfinite, n_layers;
};

static bool want_site(void *ctx, enum site site, uint32_t layer)
{
    (void)ctx, (void)layer;
    return site == SITE_RESID_2 || site == SITE_ROUTER;
}

static void take_router(struct seen *s, const struct ref_values *v)
{
    for (size_t r = 0; r < v->rows; r++)
        for (size_t a = 0; a < v->cols; a++)
            for (size_t b = 0; b < a; b++) {
                const double *x = v->value + r * v->cols, *dev = v->dev + r * v->cols;
                s->gap = fmin(s->gap, fabs(x[a] - x[b]) / (dev[a] + dev[b]));
            }
}

static void take_site(void *ctx, const struct ref_values *v)
{
    struct seen *s = ctx;
    double squares = 0;
    for (size_t i = 0; i < v->rows * v->cols; i++) {
        squares += v->value[i] * v->value[i];
        s->nonfinite += isfinite(v->value[i]) ? 0 : 1;
    }
    const double rms = sqrt(squares / (double)(v->rows * v->cols));
    if (v->site == SITE_ROUTER) {
        take_router(s, v);
        return;
    }
    s->least = fmin(s->least, rms);
    s->most = fmax(s->most, rms);
    s->n_layers++;
}

static double spread(const double *x, size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
        squares += x[i] * x[i];
    }
    const double mean = sum / (double)n;
    return sqrt(fmax(0, squares / (double)n - mean * mean));
}

static void check_model(struct test *t, const struct gguf *g)
{
    struct seen s = {.least = INFINITY, .gap = INFINITY};
    struct ref_model *m = NULL;
    struct prompt_set p;
    struct err e = {0};
    static const size_t lengths[] = {N_TOKENS};
    if (!test_ok(t, source_open(&m, g, &e), &e)) return;
    const struct ref_shape shape = ref_model_shape(m);
    if (test_ok(t, prompts_random(&p, 1, lengths, 1, shape.n_vocab, &e), &e)) {
        double *logits = test_alloc(t, (size_t)N_TOKENS * shape.n_vocab, sizeof *logits);
        double *dev = test_alloc(t, (size_t)N_TOKENS * shape.n_vocab, sizeof *dev);
        struct ref_forward f = {.tokens = p.tokens,
                                .lengths = p.lengths,
                                .n_seqs = 1,
                                .k_type = TYPE_F32,
                                .v_type = TYPE_F32,
                                .ctx = &s,
                                .want = want_site,
                                .take = take_site};
        struct ref_err why = {{0}, false};
        if (logits && dev &&
            test_check(t, ref_forward(m, &f, logits, dev, &why), "reference: %s", why.text)) {
            const double width = spread(logits + (N_TOKENS - 1) * shape.n_vocab, shape.n_vocab);
            test_check(t, s.nonfinite == 0, "%zu values are not finite", s.nonfinite);
            test_check(t, s.n_layers == shape.n_layers, "%zu layers of %u", s.n_layers,
                       shape.n_layers);
            test_check(t, s.least > 0.05 && s.most < 50, "RMS of layers from %g to %g", s.least,
                       s.most);
            test_check(t, width > 0.05 && width < 20, "standard deviation of logits %g", width);
            test_check(t, s.gap > 1, "router logits %g bounds apart: rounding may swap experts",
                       s.gap);
        }
        prompts_free(&p);
    }
    ref_model_close(m);
}

static enum status write(const char *path, const char *arch, uint64_t seed, struct err *e)
{
    struct synth_options o = {
        .arch = arch, .shape = "tiny", .type = type_by_id(TYPE_F32), .out = path, .seed = seed};
    struct synth_done done;
    return synth_write(&o, &done, e);
}

static void run_arch(struct test *t, const struct test_case *c)
{
    struct gguf g;
    struct err e = {0};
    char one[HASH_TEXT], two[HASH_TEXT], three[HASH_TEXT];
    const char *dir = temp_dir(t);
    if (!dir) return;
    const char *a = dir_path(t, dir, "a"), *b = dir_path(t, dir, "b"), *d = dir_path(t, dir, "d");
    if (a && b && d && test_ok(t, write(a, c->shape, 1, &e), &e) &&
        test_ok(t, write(b, c->shape, 1, &e), &e) && test_ok(t, write(d, c->shape, 2, &e), &e) &&
        test_ok(t, hash_file(a, one, &e), &e) && test_ok(t, hash_file(b, two, &e), &e) &&
        test_ok(t, hash_file(d, three, &e), &e)) {
        test_check(t, strcmp(one, two) == 0, "the same seed gives another file");
        test_check(t, strcmp(one, three) != 0, "another seed gives the same file");
        if (test_ok(t, gguf_open(&g, a, &e), &e)) {
            check_model(t, &g);
            gguf_close(&g);
        }
    }
    temp_remove(dir);
}

/* No architecture of the golden models is left out, and none is without a golden model. */
static void run_covers(struct test *t, const struct test_case *c)
{
    char dir[4096], name[64];
    char **files;
    size_t n = 0, n_golden[ARCHITECTURE_COUNT] = {0};
    (void)c;
    snprintf(dir, sizeof dir, "%s/forward", t->options->vectors);
    if (!test_check(t, dir_list(&t->arena, dir, ".gguf.gz", &files, &n), "%s: no files", dir))
        return;
    for (size_t i = 0; i < n; i++) {
        char path[4400];
        struct gguf g;
        struct gguf_str arch;
        struct err e = {0};
        snprintf(path, sizeof path, "%s/%s.gguf.gz", dir, files[i]);
        if (!test_ok(t, gguf_open(&g, path, &e), &e)) return;
        if (gguf_get_str(&g, "general.architecture", &arch, &e) == ST_OK) {
            snprintf(name, sizeof name, "%.*s", (int)arch.len, arch.data);
            test_check(t, synth_makes(name), "%s: no random model of %s can be made", files[i],
                       name);
            for (size_t a = 0; a < ARCHITECTURE_COUNT; a++)
                n_golden[a] += strcmp(architecture_names[a], name) == 0;
        }
        gguf_close(&g);
    }
    for (size_t a = 0; a < ARCHITECTURE_COUNT; a++)
        test_check(t, n_golden[a] > 0, "%s: no golden model of %s", dir, architecture_names[a]);
}

void suite_synth(struct case_list *l)
{
    const struct test_case covers = {.suite = "synth", .shape = "covers-golden", .run = run_covers};
    case_add(l, &covers);
    for (size_t i = 0; synth_arch(i); i++) {
        struct test_case c = {.suite = "synth", .shape = synth_arch(i), .run = run_arch};
        case_add(l, &c);
    }
}
