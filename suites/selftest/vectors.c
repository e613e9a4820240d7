/* The suite of golden files: the reference against what llama.cpp computed, for every file of the
 * vectors directory, whatever it is called: decode files by their sets, forward files by their
 * prompts. Fresh files need no build: assay test vectors --vectors DIR. */
#include "selftest/selftest.h"
#include "judge/bounds.h"
#include "judge/compare.h"
#include "models/golden.h"
#include "harness/golden_decode.h"
#include "models/source.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The context that llama.cpp was configured with; 0: the file does not say. */
static uint32_t context_of(const struct gguf *golden)
{
    const struct gguf_kv *found = gguf_find(golden, "golden.context");
    double n = 0;
    struct gguf_kv kv = {0};
    if (found) kv = *found;
    return found && gguf_value_f64(&kv, 0, &n) && n > 0 ? (uint32_t)n : 0;
}

static bool evaluate(struct test *t, struct ref_model *m, const struct golden_prompt *p,
                     uint32_t n_ctx, double *out)
{
    struct ref_err why = {{0}, false};
    struct ref_forward f = {.tokens = p->tokens,
                            .lengths = &p->n_tokens,
                            .n_seqs = 1,
                            .k_type = TYPE_F32,
                            .v_type = TYPE_F32,
                            .n_ctx = n_ctx};
    if (ref_model_shape(m).n_vocab != p->n_vocab)
        return test_check(t, false, "the model has %u tokens, the golden logits %zu",
                          ref_model_shape(m).n_vocab, p->n_vocab);
    return test_check(t, ref_forward(m, &f, out, NULL, &why), "%s", why.text);
}

static size_t top_of(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* NMSE of golden rows against the reference's, and the top tokens. Returns the worst row. */
static double judge_rows(struct test *t, size_t prompt, const struct golden_prompt *p,
                         const float *golden, const double *logits, bool tops)
{
    double worst = 0;
    for (size_t r = 0; r < p->n_rows; r++) {
        size_t token = golden_row_token(p, r);
        const float *want = golden + r * p->n_vocab;
        const double *got = logits + token * p->n_vocab;
        double nmse = nmse_worst_row(want, got, 1, p->n_vocab);
        if (!(nmse <= worst)) worst = nmse;
        size_t top = top_of(want, p->n_vocab), mine = ref_argmax(got, p->n_vocab);
        if (tops && top != mine)
            test_fail(t, "prompt %zu, position %zu: top token %zu, llama.cpp has %zu", prompt,
                      token, mine, top);
    }
    for (size_t i = 0; tops && p->top && i < p->n_tokens; i++) {
        size_t mine = ref_argmax(logits + i * p->n_vocab, p->n_vocab);
        if (mine != (size_t)p->top[i])
            test_fail(t, "prompt %zu, position %zu: top token %zu, llama.cpp has %d", prompt, i,
                      mine, p->top[i]);
    }
    return worst;
}

/* native: the distance itself is most of its limit, so half of it is nothing to note. */
static void record(struct test *t, double worst, double limit, size_t n, bool native)
{
    struct case_result *r = &t->result;
    r->nmse_worst_row = worst;
    r->bound = limit;
    r->total = n;
    test_check(t, compare_error(r, worst, limit), "worst-row NMSE %.3g, limit %.3g", worst, limit);
    if (r->status == CASE_PASS && !native && bound_is_marginal(r->used)) r->status = CASE_MARGINAL;
}

static void judge_model(struct test *t, const struct gguf *golden, const struct gguf *model,
                        bool native, double limit)
{
    struct ref_model *m = NULL;
    struct err e = {0};
    if (!test_ok(t, source_open(&m, model, &e), &e)) return;
    struct golden_prompt p;
    double worst = 0;
    size_t n = 0, rows = 0;
    for (; golden_prompt(golden, n, &p, &e); n++) {
        double *logits = test_alloc(t, p.n_tokens * p.n_vocab, sizeof *logits);
        if (!logits || !evaluate(t, m, &p, context_of(golden), logits)) break;
        double nmse = judge_rows(t, n, &p, native ? p.native : p.exact, logits, !native);
        if (!(nmse <= worst)) worst = nmse;
        rows += p.n_rows;
    }
    ref_model_close(m);
    if (e.st != ST_OK) test_fail(t, "%s", e.text);
    test_check(t, n > 0, "the file holds no prompts");
    record(t, worst, limit, rows, native);
}

/* The golden file may name a model that lies beside it: "golden.model". */
static bool open_model(struct test *t, const struct gguf *golden, struct gguf *model,
                       bool *separate)
{
    struct gguf_str name;
    struct err e = {0};
    *separate = gguf_find(golden, "golden.model") != NULL;
    if (!*separate) return true;
    char path[4096];
    if (!test_ok(t, gguf_get_str(golden, "golden.model", &name, &e), &e)) return false;
    snprintf(path, sizeof path, "%s/models/%.*s.gz", t->options->vectors, (int)name.len, name.data);
    if (access(path, R_OK) != 0)
        snprintf(path, sizeof path, "%s/models/%.*s", t->options->vectors, (int)name.len,
                 name.data);
    return test_ok(t, gguf_open(model, path, &e), &e);
}

/* How far llama.cpp's own result lies from exact, by the manifest; NAN if it does not say. */
static double native_distance(const char *vectors, const char *file)
{
    char path[4096], want[256];
    snprintf(path, sizeof path, "%s/manifest.json", vectors);
    snprintf(want, sizeof want, "forward/%s.gguf.gz", file);
    json_t *list = json_load_file(path, 0, NULL), *item;
    double found = NAN;
    size_t i;
    json_array_foreach(list, i, item)
    {
        const char *p = json_string_value(json_object_get(item, "path"));
        json_t *d = json_object_get(item, "native_vs_exact_worst_nmse");
        if (p && strcmp(p, want) == 0 && json_is_number(d)) found = json_number_value(d);
    }
    json_decref(list);
    return found;
}

struct golden_file {
    char name[128]; /* without .gguf.gz */
    char path[4096];
};

static void run_forward(struct test *t, const struct test_case *c)
{
    const struct golden_file *file = c->arg;
    struct gguf golden, model;
    struct err e = {0};
    bool separate = false, native = strcmp(c->shape, "native") == 0;
    if (!test_ok(t, gguf_open(&golden, file->path, &e), &e)) return;
    double limit = bound_golden();
    if (native) {
        double d = native_distance(t->options->vectors, file->name);
        if (!test_check(t, d >= 0, "the manifest does not say how far native lies from exact"))
            goto out;
        limit = bound_golden_native(d);
    }
    if (!open_model(t, &golden, &model, &separate)) goto out;
    judge_model(t, &golden, separate ? &model : &golden, native, limit);
    if (separate) gguf_close(&model);
out:
    gguf_close(&golden);
}

static void run_decode(struct test *t, const struct test_case *c)
{
    const struct golden_file *file = c->arg;
    struct gguf g;
    struct err e = {0};
    if (!test_ok(t, gguf_open(&g, file->path, &e), &e)) return;
    golden_decode_set(t, c, &g, c->shape);
    gguf_close(&g);
}

static void run_missing(struct test *t, const struct test_case *c)
{
    test_fail(t, "%s holds no golden files of this kind: %s", t->options->vectors, c->op);
}

/* ---- finding the files ------------------------------------------------------------------- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_gguf(const struct dirent *d)
{
    return strstr(d->d_name, ".gguf") != NULL;
}

static bool holds(const struct gguf *g, const char *tensor)
{
    return gguf_find_tensor(g, tensor);
}

static void add_file(struct case_list *l, const char *dir, const char *name)
{
    struct golden_file *f = arena_alloc(&l->arena, 1, sizeof *f);
    if (!f) return;
    snprintf(f->name, sizeof f->name, "%.*s", (int)(strstr(name, ".gguf") - name), name);
    snprintf(f->path, sizeof f->path, "%s/%s", dir, name);
    struct test_case c = {
        .suite = "vectors", .type = f->name, .subject = "reference", .quick = true, .arg = f};
    struct gguf g;
    struct err e = {0};
    if (gguf_open(&g, f->path, &e) != ST_OK) { /* the case will say why */
        c.op = "forward", c.shape = "exact", c.run = run_forward;
        case_add(l, &c);
        return;
    }
    static const char *const sets[] = {"encoded", "bits", "special"};
    c.op = "decode", c.run = run_decode;
    for (size_t i = 0; i < 3; i++) {
        if (!holds(&g, case_text(l, "%s.blocks", sets[i]))) continue;
        c.shape = sets[i];
        case_add(l, &c);
    }
    if (holds(&g, "golden.0.tokens")) {
        c.op = "forward", c.run = run_forward, c.shape = "exact";
        case_add(l, &c);
        c.shape = "native";
        if (holds(&g, "golden.0.native") && strncmp(f->name, "micro-", 6) == 0) case_add(l, &c);
    }
    gguf_close(&g);
}

static size_t add_directory(struct case_list *l, const char *dir)
{
    struct dirent **names;
    int n = scandir(dir, &names, is_gguf, by_name);
    for (int i = 0; i < n; i++) {
        add_file(l, dir, names[i]->d_name);
        free(names[i]);
    }
    if (n >= 0) free(names);
    return n > 0 ? (size_t)n : 0;
}

/* Either DIR/decode and DIR/forward, as in the tree, or files lying in DIR itself. */
void suite_vectors(struct case_list *l)
{
    static const char *const kinds[] = {"decode", "forward"};
    size_t found = add_directory(l, l->options->vectors);
    for (size_t i = 0; i < 2; i++) {
        size_t n = add_directory(l, case_text(l, "%s/%s", l->options->vectors, kinds[i]));
        if (n == 0 && found == 0) {
            struct test_case c = {
                .suite = "vectors", .op = kinds[i], .quick = true, .run = run_missing};
            case_add(l, &c);
        }
    }
}
