/* The suite of golden op vectors: the reference's operations, in double, against formulas
 * evaluated with 60 digits (vectors/make/ops.py); and the engine's table of rotations, which is
 * made in double and rounded once.
 *
 * What the reference claims, and this suite holds it to. u = 2^-53 is the unit roundoff of
 * binary64, so k u |y| is at most k units in the last place of y. Every claim follows from
 * counting roundings: the basic operations and sqrt make one each (u); exp, pow, sin, cos of the
 * C library err by less than 1 ulp (2 u), tanh by less than 2 (glibc manual, "Known maximum
 * errors"); the golden number itself is rounded (u). A sum of n terms in eight lanes makes
 * n/8 + 8 roundings. Results below 2^-1000 are zero in binary32 and carry no claim.
 *
 *   rms_norm    (n/16 + 12) u |y|                     the root halves the sum's error
 *   silu        6 u |y|                               silu_mul 7 u |y|
 *   gelu        6 u |x|                               gelu_mul 7 u |x b|; 1 + tanh cancels for
 *                                                     x < 0, so not relative to the result
 *   softmax     (n + 6 + |x - max|) u y               exp turns an absolute error of its argument
 *                                                     into a relative one
 *   rope table  (4 + A) u m                           A = theta (2p/n ln base + 8), twice that of
 *                                                     the unscaled theta with YaRN: what pow, its
 *                                                     exponent and the products cost the angle
 *   rope        (7 + A) u (|a| + |b|) m               beside it two products and a sum
 *   scores      (d/8 + 11) u M = E                    M = sum |q k scale|
 *   weights     (2 max E + |s - max|) w + (n + 6) u w
 *   attention   (2 max E + |s - max|) M + (2n + 8) u M, worst cell; M = sum w |v|
 *   magnitudes  as the result they belong to
 */
#include "compare.h"
#include "gguf.h"
#include "ref.h"
#include "rope_table.h"
#include "subject.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double U64 = 0x1p-53, U32 = 0x1p-24; /* unit roundoffs */
static const double FLOOR = 0x1p-1000;

/* ---- reading a case ---------------------------------------------------------------------- */

struct vec {
    struct test *t;
    const struct gguf *g;
    const char *name;
    bool ok; /* false: something was missing, the case has failed */
};

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

static const float *vec_f32(struct vec *v, const char *key, size_t n)
{
    return vec_data(v, key, TYPE_F32, n);
}

static const int32_t *vec_i32(struct vec *v, const char *key, size_t n)
{
    return vec_data(v, key, TYPE_I32, n);
}

static const double *vec_f64(struct vec *v, const char *key, size_t n)
{
    return vec_data(v, key, TYPE_F64, n);
}

/* Inputs as the reference takes them. */
static double *vec_wide(struct vec *v, const char *key, size_t n)
{
    const float *x = vec_f32(v, key, n);
    double *out = x ? test_alloc(v->t, n, sizeof *out) : NULL;
    if (!out) v->ok = false;
    for (size_t i = 0; out && i < n; i++) out[i] = (double)x[i];
    return out;
}

static double *vec_room(struct vec *v, size_t n)
{
    double *out = test_alloc(v->t, n, sizeof *out);
    if (!out) v->ok = false;
    for (size_t i = 0; out && i < n; i++) out[i] = NAN;
    return out;
}

static double vec_number(struct vec *v, const char *key)
{
    char name[128];
    double x = NAN;
    snprintf(name, sizeof name, "%s.%s", v->name, key);
    struct gguf_kv *kv = gguf_find(v->g, name);
    v->ok &= test_check(v->t, kv && gguf_value_f64(kv, 0, &x), "the golden file has no %s", name);
    return x;
}

static uint32_t vec_count(struct vec *v, const char *key)
{
    const double x = vec_number(v, key);
    return x >= 0 ? (uint32_t)x : 0;
}

/* Dimensions of a tensor, innermost first; a tensor that is missing has none. */
static const uint64_t *vec_dims(struct vec *v, const char *key)
{
    static const uint64_t none[GGUF_MAX_DIMS];
    char name[128];
    snprintf(name, sizeof name, "%s.%s", v->name, key);
    const struct gguf_tensor *x = gguf_find_tensor(v->g, name);
    v->ok &= test_check(v->t, x != NULL, "the golden file has no %s", name);
    return x ? x->dims : none;
}

/* ---- judging ------------------------------------------------------------------------------- */

struct judged {
    const char *what; /* "weights" */
    const double *got, *want, *bound;
    size_t rows, cols;
};

/* Infinities must be the same, NaN never passes. */
static double error_of(double got, double want)
{
    if (isinf(want) || isinf(got)) return got == want ? 0 : INFINITY;
    const double err = fabs(got - want);
    return isnan(err) ? INFINITY : err;
}

static void judge(struct vec *v, const struct judged *j)
{
    struct case_result *r = &v->t->result;
    const size_t n = j->rows * j->cols;
    uint8_t *flags = test_alloc(v->t, n, 1);
    size_t bad = 0, first = 0;
    if (!flags || !v->ok) return;
    for (size_t i = 0; i < n; i++) {
        const double err = error_of(j->got[i], j->want[i]), bound = j->bound[i] + FLOOR;
        const double used = err / bound;
        if (!(used <= r->used)) r->used = used, r->error = err, r->bound = bound;
        if (err <= bound) continue;
        if (bad++ == 0) first = i;
        flags[i] = 1;
    }
    r->total += n;
    if (bad == 0) return;
    test_fail(v->t, "%s: %.17g where %.17g is due, %.3g is claimed", j->what, j->got[first],
              j->want[first], j->bound[first] + FLOOR);
    if (r->bad == 0) {
        r->first_bad = first;
        describe_pattern(flags, j->rows, j->cols, r->pattern, sizeof r->pattern);
    }
    r->bad += bad;
}

/* ---- rows ---------------------------------------------------------------------------------- */

static void run_rms_norm(struct vec *v)
{
    const size_t n = (size_t)vec_dims(v, "x")[0], rows = (size_t)vec_dims(v, "x")[1];
    const double eps = vec_number(v, "eps"), *x = vec_wide(v, "x", rows * n);
    const float *w = vec_f32(v, "w", n);
    const double *want = vec_f64(v, "y", rows * n);
    double *y = vec_room(v, rows * n), *mag = vec_room(v, rows * n);
    double *bound = vec_room(v, rows * n), *size = vec_room(v, rows * n);
    if (!v->ok) return;
    ref_rms_norm(x, w, rows, n, eps, y, mag);
    for (size_t i = 0; i < rows * n; i++) {
        size[i] = fabs(want[i]);
        bound[i] = ((double)n / 16 + 12) * U64 * size[i];
    }
    judge(v, &(struct judged){"y", y, want, bound, rows, n});
    judge(v, &(struct judged){"magnitude", mag, size, bound, rows, n});
}

static double row_max(const double *x, size_t n)
{
    double max = -INFINITY;
    for (size_t i = 0; i < n; i++) max = fmax(max, x[i]);
    return max;
}

static void run_softmax(struct vec *v)
{
    const size_t n = (size_t)vec_dims(v, "x")[0], rows = (size_t)vec_dims(v, "x")[1];
    const double *x = vec_wide(v, "x", rows * n), *want = vec_f64(v, "y", rows * n);
    double *y = vec_room(v, rows * n), *bound = vec_room(v, rows * n);
    if (!v->ok) return;
    ref_softmax(x, rows, n, y);
    for (size_t row = 0; row < rows; row++) {
        const double max = row_max(x + row * n, n);
        for (size_t i = row * n; i < (row + 1) * n; i++)
            bound[i] = want[i] == 0 ? 0 : ((double)n + 6 + (max - x[i])) * U64 * want[i];
    }
    judge(v, &(struct judged){"y", y, want, bound, rows, n});
}

/* ---- element by element ---------------------------------------------------------------------- */

/* y = f(x), or f(a) b for the gated forms. */
static void run_flat(struct vec *v, double (*f)(double), bool gated, bool cancels)
{
    const char *first = gated ? "a" : "x";
    const size_t n = (size_t)vec_dims(v, first)[0];
    const double *a = vec_wide(v, first, n), *b = gated ? vec_wide(v, "b", n) : NULL;
    const double *want = vec_f64(v, "y", n);
    double *y = vec_room(v, n), *bound = vec_room(v, n);
    if (!v->ok) return;
    for (size_t i = 0; i < n; i++) {
        const double gain = gated ? b[i] : 1, size = cancels ? a[i] * gain : want[i];
        y[i] = f(a[i]) * gain;
        bound[i] = (gated ? 7 : 6) * U64 * fabs(size);
    }
    judge(v, &(struct judged){"y", y, want, bound, 1, n});
}

static void run_silu(struct vec *v)
{
    run_flat(v, ref_silu, false, false);
}
static void run_gelu(struct vec *v)
{
    run_flat(v, ref_gelu, false, true);
}
static void run_silu_mul(struct vec *v)
{
    run_flat(v, ref_silu, true, false);
}
static void run_gelu_mul(struct vec *v)
{
    run_flat(v, ref_gelu, true, true);
}

/* ---- rope ---------------------------------------------------------------------------------- */

struct rope_vec {
    struct ref_rope rope;
    size_t d, heads, tokens, half;
    const int32_t *pos;
    const double *theta, *cos, *sin; /* (tokens, half) */
    double *table;                   /* (tokens, half): A u m, what the angle's error costs */
};

static void rope_parameters(struct vec *v, struct ref_rope *r)
{
    char name[128];
    struct gguf_str pairing = {0};
    struct err e = {0};
    snprintf(name, sizeof name, "%s.pairing", v->name);
    v->ok &= test_ok(v->t, gguf_get_str(v->g, name, &pairing, &e), &e);
    const bool neox = pairing.len == 4 && memcmp(pairing.data, "neox", 4) == 0;
    *r = (struct ref_rope){.pairing = neox ? REF_ROPE_NEOX : REF_ROPE_NORM,
                           .n_dims = vec_count(v, "n_dims"),
                           .freq_base = vec_number(v, "freq_base"),
                           .freq_scale = vec_number(v, "freq_scale"),
                           .ext_factor = vec_number(v, "ext_factor"),
                           .attn_factor = vec_number(v, "attn_factor"),
                           .beta_fast = vec_number(v, "beta_fast"),
                           .beta_slow = vec_number(v, "beta_slow"),
                           .n_ctx_orig = vec_count(v, "n_ctx_orig"),
                           .magnitude = vec_number(v, "magnitude")};
    snprintf(name, sizeof name, "%s.factors", v->name);
    if (gguf_find_tensor(v->g, name)) r->factors = vec_f32(v, "factors", r->n_dims / 2);
}

static void rope_read(struct vec *v, struct rope_vec *o)
{
    const uint64_t *dims = vec_dims(v, "x");
    *o = (struct rope_vec){
        .d = (size_t)dims[0], .heads = (size_t)dims[1], .tokens = (size_t)dims[2]};
    rope_parameters(v, &o->rope);
    o->half = o->rope.n_dims / 2;
    o->pos = vec_i32(v, "pos", o->tokens);
    o->theta = vec_f64(v, "theta", o->tokens * o->half);
    o->cos = vec_f64(v, "cos", o->tokens * o->half);
    o->sin = vec_f64(v, "sin", o->tokens * o->half);
    o->table = vec_room(v, o->tokens * o->half);
    for (size_t i = 0; v->ok && i < o->tokens * o->half; i++) {
        const double turn = 2.0 * (double)(i % o->half) / o->rope.n_dims;
        const double yarn = o->rope.ext_factor != 0 ? 2 / o->rope.freq_scale : 1;
        o->table[i] =
            yarn * o->theta[i] * (turn * log(o->rope.freq_base) + 8) * U64 * o->rope.magnitude;
    }
}

static void judge_table(struct vec *v, const struct rope_vec *o)
{
    const size_t n = o->tokens * o->half;
    double *c = vec_room(v, n), *s = vec_room(v, n), *bound = vec_room(v, n);
    for (size_t i = 0; v->ok && i < n; i++) {
        ref_rope_angle(&o->rope, o->pos[i / o->half], (uint32_t)(i % o->half), &c[i], &s[i]);
        bound[i] = o->table[i] + 4 * U64 * o->rope.magnitude;
    }
    judge(v, &(struct judged){"cos", c, o->cos, bound, o->tokens, o->half});
    judge(v, &(struct judged){"sin", s, o->sin, bound, o->tokens, o->half});
}

/* Bounds of both elements of every pair; elements beyond the rotated ones must not change. */
static void rope_bounds(const struct rope_vec *o, const double *x, double *bound)
{
    const bool norm = o->rope.pairing == REF_ROPE_NORM;
    for (size_t i = 0; i < o->tokens * o->heads * o->d; i++) bound[i] = 0;
    for (size_t row = 0; row < o->tokens * o->heads; row++)
        for (size_t p = 0; p < o->half; p++) {
            const size_t a = row * o->d + (norm ? 2 * p : p), b = norm ? a + 1 : a + o->half;
            const double table = o->table[row / o->heads * o->half + p];
            bound[a] = bound[b] = (fabs(x[a]) + fabs(x[b])) * (table + 7 * U64 * o->rope.magnitude);
        }
}

static void run_rope(struct vec *v)
{
    struct rope_vec o;
    rope_read(v, &o);
    const size_t n = o.tokens * o.heads * o.d;
    double *x = vec_wide(v, "x", n), *mag = vec_room(v, n), *bound = vec_room(v, n);
    const double *want = vec_f64(v, "y", n), *want_mag = vec_f64(v, "mag", n);
    if (!v->ok) return;
    judge_table(v, &o);
    rope_bounds(&o, x, bound);
    ref_rope(&o.rope, x, o.pos, o.tokens, o.heads, o.d, mag);
    judge(v, &(struct judged){"y", x, want, bound, o.tokens * o.heads, o.d});
    judge(v, &(struct judged){"magnitude", mag, want_mag, bound, o.tokens * o.heads, o.d});
}

/* The engine's table: the reference's claim, and one rounding to binary32. */
static void run_rope_table(struct vec *v)
{
    struct rope_vec o;
    struct rope_table table;
    struct err e = {0};
    rope_read(v, &o);
    const size_t n = o.tokens * o.half;
    double *got = vec_room(v, 2 * n), *want = vec_room(v, 2 * n), *bound = vec_room(v, 2 * n);
    float *out = test_alloc(v->t, 2 * n, sizeof *out);
    if (!v->ok || !out) return;
    const enum rope_pairing pairing = o.rope.pairing == REF_ROPE_NORM ? ROPE_NORM : ROPE_NEOX;
    const struct rope_params p = {.n_dims = o.rope.n_dims,
                                  .pairing = pairing,
                                  .freq_base = o.rope.freq_base,
                                  .freq_scale = o.rope.freq_scale,
                                  .ext_factor = o.rope.ext_factor,
                                  .beta_fast = o.rope.beta_fast,
                                  .beta_slow = o.rope.beta_slow,
                                  .n_ctx_orig = o.rope.n_ctx_orig,
                                  .magnitude = o.rope.magnitude};
    if (!test_ok(v->t, rope_table_init(&table, &p, o.rope.factors, &v->t->arena, &e), &e)) return;
    rope_table_fill(&table, o.pos, o.tokens, out);
    for (size_t i = 0; i < 2 * n; i++) {
        got[i] = (double)out[i];
        want[i] = i % 2 ? o.sin[i / 2] : o.cos[i / 2];
        bound[i] = o.table[i / 2] + 4 * U64 * o.rope.magnitude + U32 * fabs(want[i]);
    }
    judge(v, &(struct judged){"cos and sin", got, want, bound, o.tokens, 2 * o.half});
}

/* ---- attention ----------------------------------------------------------------------------- */

struct attention_vec {
    size_t d, heads, tokens, cells;
    const double *scores, *mag_scores, *weights, *out, *mag;
    double *score_bound, *weight_bound, *out_bound;
};

static void attention_bounds(const struct attention_vec *o)
{
    const double n = (double)o->cells;
    for (size_t row = 0; row < o->tokens * o->heads; row++) {
        const size_t at = row * o->cells;
        const double max = row_max(o->scores + at, o->cells);
        double worst = 0, cost = 0;
        for (size_t i = at; i < at + o->cells; i++) {
            o->score_bound[i] = ((double)o->d / 8 + 11) * U64 * o->mag_scores[i];
            worst = fmax(worst, o->score_bound[i]);
        }
        for (size_t i = at; i < at + o->cells; i++) {
            const double gap = o->weights[i] == 0 ? 0 : 2 * worst + (max - o->scores[i]) * U64;
            o->weight_bound[i] = (gap + (n + 6) * U64) * o->weights[i];
            cost = fmax(cost, gap);
        }
        for (size_t i = row * o->d; i < (row + 1) * o->d; i++)
            o->out_bound[i] = (cost + (2 * n + 8) * U64) * o->mag[i];
    }
}

static void run_attention(struct vec *v)
{
    const uint64_t *q = vec_dims(v, "q"), *k = vec_dims(v, "k");
    struct attention_vec o = {
        .d = (size_t)q[0], .heads = (size_t)q[1], .tokens = (size_t)q[2], .cells = (size_t)k[2]};
    const size_t kv_heads = (size_t)k[1], rows = o.tokens * o.heads, grid = rows * o.cells;
    o.scores = vec_f64(v, "scores", grid), o.mag_scores = vec_f64(v, "mag_scores", grid);
    o.weights = vec_f64(v, "weights", grid);
    o.out = vec_f64(v, "out", rows * o.d), o.mag = vec_f64(v, "mag", rows * o.d);
    o.score_bound = vec_room(v, grid), o.weight_bound = vec_room(v, grid);
    o.out_bound = vec_room(v, rows * o.d);
    struct ref_attention a = {.n_tokens = o.tokens,
                              .n_heads = o.heads,
                              .n_kv_heads = kv_heads,
                              .head_dim = o.d,
                              .n_cells = o.cells};
    a.q = vec_wide(v, "q", rows * o.d);
    a.k = vec_wide(v, "k", o.cells * kv_heads * o.d);
    a.v = vec_wide(v, "v", o.cells * kv_heads * o.d);
    a.pos = vec_i32(v, "pos", o.tokens), a.cell_pos = vec_i32(v, "cell_pos", o.cells);
    a.scale = vec_number(v, "scale");
    a.scores = vec_room(v, grid), a.mag_scores = vec_room(v, grid), a.weights = vec_room(v, grid);
    a.out = vec_room(v, rows * o.d), a.mag = vec_room(v, rows * o.d);
    if (!v->ok) return;
    attention_bounds(&o);
    ref_attention(&a);
    judge(v, &(struct judged){"scores", a.scores, o.scores, o.score_bound, rows, o.cells});
    judge(v, &(struct judged){"magnitudes of scores", a.mag_scores, o.mag_scores, o.score_bound,
                              rows, o.cells});
    judge(v, &(struct judged){"weights", a.weights, o.weights, o.weight_bound, rows, o.cells});
    judge(v, &(struct judged){"out", a.out, o.out, o.out_bound, rows, o.d});
    judge(v, &(struct judged){"magnitudes of out", a.mag, o.mag, o.out_bound, rows, o.d});
    /* Without a place for weights the reference goes another way, to the same claim. */
    double *again = vec_room(v, rows * o.d);
    if (!again) return;
    a.weights = a.scores = a.mag_scores = NULL, a.out = again;
    ref_attention(&a);
    judge(v, &(struct judged){"out without weights", again, o.out, o.out_bound, rows, o.d});
}

/* ---- collecting ------------------------------------------------------------------------------ */

static const struct op_file {
    const char *op, *file, *subject;
    void (*run)(struct vec *v);
} files[] = {
    {"rms_norm", "rms_norm", "reference", run_rms_norm},
    {"rope", "rope", "reference", run_rope},
    {"rope_table", "rope", "engine", run_rope_table},
    {"softmax", "softmax", "reference", run_softmax},
    {"silu", "silu", "reference", run_silu},
    {"gelu", "gelu", "reference", run_gelu},
    {"silu_mul", "silu_mul", "reference", run_silu_mul},
    {"gelu_mul", "gelu_mul", "reference", run_gelu_mul},
    {"attention", "attention", "reference", run_attention},
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
    struct vec v = {.t = t, .g = &g, .name = c->shape, .ok = true};
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
