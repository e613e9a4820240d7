/* The suite of golden op vectors: the reference's operations, in double, against formulas
 * evaluated with 60 digits (vectors/make/ops.py); and the engine's table of rotations, which is
 * made in double and rounded once. What the reference claims, and this suite holds it to, is in
 * vectors_op_claims.c. Of a cache, every byte counts. */
#include "selftest/selftest.h"
#include "selftest/vectors_op.h"
#include "judge/compare.h"
#include "subject/subject.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading a case ---------------------------------------------------------------------- */

static const void *vec_data(struct vec *v, const char *key, enum tensor_type type, size_t n)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", v->name, key);
    const struct gguf_tensor *x = gguf_find_tensor(v->g, name);
    bool fits = x && x->type->id == type && x->n_elems == n && n > 0;
    v->ok &= test_check(v->t, fits, "the golden file has no %s of %zu values of type %s", name, n,
                        type_by_id(type)->name);
    return fits ? x->data : NULL;
}

bool vec_has(struct vec *v, const char *key)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", v->name, key);
    return gguf_find_tensor(v->g, name) != NULL;
}

const float *vec_f32(struct vec *v, const char *key, size_t n)
{
    return vec_data(v, key, TYPE_F32, n);
}

const int32_t *vec_i32(struct vec *v, const char *key, size_t n)
{
    return vec_data(v, key, TYPE_I32, n);
}

const double *vec_f64(struct vec *v, const char *key, size_t n)
{
    return vec_data(v, key, TYPE_F64, n);
}

double *vec_wide(struct vec *v, const char *key, size_t n)
{
    const float *x = vec_f32(v, key, n);
    double *out = x ? test_alloc(v->t, n, sizeof *out) : NULL;
    if (!out) v->ok = false;
    for (size_t i = 0; out && i < n; i++) out[i] = (double)x[i];
    return out;
}

double *vec_room(struct vec *v, size_t n)
{
    double *out = test_alloc(v->t, n, sizeof *out);
    if (!out) v->ok = false;
    for (size_t i = 0; out && i < n; i++) out[i] = NAN;
    return out;
}

double vec_number(struct vec *v, const char *key)
{
    char name[128];
    double x = NAN;
    snprintf(name, sizeof name, "%s.%s", v->name, key);
    struct gguf_kv *kv = gguf_find(v->g, name);
    v->ok &= test_check(v->t, kv && gguf_value_f64(kv, 0, &x), "the golden file has no %s", name);
    return x;
}

uint32_t vec_count(struct vec *v, const char *key)
{
    const double x = vec_number(v, key);
    return x >= 0 ? (uint32_t)x : 0;
}

const uint64_t *vec_dims(struct vec *v, const char *key)
{
    static const uint64_t none[GGUF_MAX_DIMS];
    char name[128];
    snprintf(name, sizeof name, "%s.%s", v->name, key);
    const struct gguf_tensor *x = gguf_find_tensor(v->g, name);
    v->ok &= test_check(v->t, x != NULL, "the golden file has no %s", name);
    return x ? x->dims : none;
}

/* ---- judging ------------------------------------------------------------------------------- */

static double error_of(double got, double want)
{
    if (isinf(want) || isinf(got)) return got == want ? 0 : INFINITY;
    const double err = fabs(got - want);
    return isnan(err) ? INFINITY : err;
}

void vec_judge(struct vec *v, const struct vec_judged *j)
{
    struct case_result *r = &v->t->result;
    const size_t n = j->rows * j->cols;
    uint8_t *flags = test_alloc(v->t, n, 1);
    size_t bad = 0, first = 0;
    if (!flags || !v->ok) return;
    for (size_t i = 0; i < n; i++) {
        const double err = error_of(j->got[i], j->want[i]), bound = j->bound[i] + claim_floor();
        if (compare_error(r, err, bound)) continue;
        if (bad++ == 0) first = i;
        flags[i] = 1;
    }
    r->total += n;
    if (bad == 0) return;
    test_fail(v->t, "%s: %.17g where %.17g is due, %.3g is claimed", j->what, j->got[first],
              j->want[first], j->bound[first] + claim_floor());
    if (r->bad == 0) {
        r->first_bad = first;
        describe_pattern(flags, j->rows, j->cols, r->pattern, sizeof r->pattern);
    }
    r->bad += bad;
}

double vec_row_max(const double *x, size_t n)
{
    double max = -INFINITY;
    for (size_t i = 0; i < n; i++) max = fmax(max, x[i]);
    return max;
}

/* ---- collecting ------------------------------------------------------------------------------ */

static const struct op_file {
    const char *op, *file, *subject;
    void (*run)(struct vec *v);
} files[] = {
    {"rms_norm", "rms_norm", "reference", opvec_rms_norm},
    {"layer_norm", "layer_norm", "reference", opvec_layer_norm},
    {"rope", "rope", "reference", opvec_rope},
    {"rope_table", "rope", "engine", opvec_rope_table},
    {"softmax", "softmax", "reference", opvec_softmax},
    {"softmax", "softmax_sinks", "reference", opvec_softmax},
    {"silu", "silu", "reference", opvec_flat},
    {"gelu", "gelu", "reference", opvec_flat},
    {"gelu_erf", "gelu_erf", "reference", opvec_flat},
    {"sigmoid", "sigmoid", "reference", opvec_flat},
    {"softcap", "softcap", "reference", opvec_flat},
    {"silu_mul", "silu_mul", "reference", opvec_flat},
    {"gelu_mul", "gelu_mul", "reference", opvec_flat},
    {"gelu_erf_mul", "gelu_erf_mul", "reference", opvec_flat},
    {"swiglu_oai", "swiglu_oai", "reference", opvec_flat},
    {"route", "route", "reference", opvec_route},
    {"attention", "attention", "reference", opvec_attention},
    {"attention", "attention_masked", "reference", opvec_attention},
    {"cache", "cache", "reference", opvec_cache},
};

static enum status file_read(struct gguf *g, const char *vectors, const char *file, struct err *e)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/ops/%s.gguf.gz", vectors, file);
    return gguf_open(g, path, e);
}

/* A case without a shape stands for a file that could not be read. */
static void run_case(struct test *t, const struct test_case *c)
{
    const struct op_file *f = c->arg;
    struct gguf g;
    struct err e = {0};
    if (!test_ok(t, file_read(&g, t->options->vectors, f->file, &e), &e)) return;
    struct vec v = {.t = t, .g = &g, .op = f->op, .name = c->shape, .ok = true};
    if (test_check(t, c->shape != NULL, "%s.gguf.gz names no cases", f->file)) f->run(&v);
    gguf_close(&g);
}

static bool asked(const struct case_list *l, const char *subject)
{
    char name[SUBJECT_NAME];
    for (size_t i = 0; l->options->subjects; i++) {
        if (!subject_name_at(l->options->subjects, i, name, sizeof name)) return false;
        if (strcmp(name, subject) == 0) return true;
    }
    return true;
}

static void add_file(struct case_list *l, const struct op_file *f)
{
    struct test_case c = {.suite = "opvec",
                          .op = f->op,
                          .subject = f->subject,
                          .quick = true,
                          .run = run_case,
                          .arg = f};
    struct gguf g;
    struct err e = {0};
    const bool opened = file_read(&g, l->options->vectors, f->file, &e) == ST_OK;
    struct gguf_kv *names = opened ? gguf_find(&g, "golden.cases") : NULL;
    struct gguf_str *list = names ? arena_alloc(&l->arena, names->count, sizeof *list) : NULL;
    if (list && names->count && gguf_value_strings(names, list)) {
        for (uint64_t i = 0; i < names->count; i++) {
            c.shape = case_text(l, "%.*s", (int)list[i].len, list[i].data);
            case_add(l, &c);
        }
    } else {
        case_add(l, &c);
    }
    if (opened) gguf_close(&g);
}

void suite_opvec(struct case_list *l)
{
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (asked(l, files[i].subject)) add_file(l, &files[i]);
}
