/* The suite of encoders: error against figures from outside, rows at the edges of the number
 * range, independence of threads, exact rounding of the plain types, importance. Mixes and whole
 * models are in encode_model.c. */
#include "selftest/selftest.h"
#include "judge/bounds.h"
#include "selftest/encode.h"
#include "judge/compare.h"
#include "harness/harness.h"
#include "reference/ref.h"
#include "harness/random.h"

#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 64, COLS = 1024 };

static enum tensor_type type_of(const struct test_case *c)
{
    return ((const struct type_spec *)c->arg)->id;
}

/* Encodes and decodes rows; false (and failed) if that is not possible. */
static bool round_trip(struct test *t, enum tensor_type type, const float *x, size_t rows,
                       size_t cols, const float *weight, float *y)
{
    size_t bytes = type_bytes(type_by_id((int64_t)type), rows * cols);
    uint8_t *blocks = test_alloc(t, bytes, 1);
    if (!blocks) return false;
    memset(blocks, 0xa5, bytes);
    return test_check(t, ref_encode_rows(type, x, rows, cols, weight, blocks, NULL, NULL),
                      "no encoder") &&
           test_check(t, ref_decode(type, blocks, rows * cols, y), "no decoder");
}

/* sum w (x - y)^2 / sum w x^2. */
static double nmse(const float *x, const float *y, const float *w, size_t n, size_t cols)
{
    double error = 0, energy = 0;
    for (size_t i = 0; i < n; i++) {
        double wi = w ? (double)w[i % cols] : 1, d = (double)y[i] - (double)x[i];
        error += wi * d * d;
        energy += wi * (double)x[i] * (double)x[i];
    }
    return error > 0 ? error / energy : error;
}

/* Keeps the worst of several errors in the result; fails if it is over its bound. */
static void judge(struct test *t, const char *what, double error, double bound)
{
    struct case_result *r = &t->result;
    if (r->total++ == 0) r->bound = bound;
    if (compare_error(r, error, bound)) return;
    if (r->bad++ == 0) r->first_bad = r->total - 1;
    test_fail(t, "%s: error %.6g is over %.6g", what, error, bound);
}

/* ---- figures from outside ---- */

/* The data sets of vectors/encode/nmse.json, as its "data" entry describes them. */
static void fill_figure_set(float *x, bool heavy)
{
    struct rng r = {.state = heavy ? 2 : 1};
    for (size_t i = 0; i < ROWS * COLS; i++) {
        double u = ((double)(rng_u64(&r) >> 11) + 0.5) * 0x1p-53;
        double v = ((double)(rng_u64(&r) >> 11) + 0.5) * 0x1p-53;
        double g = sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * v);
        x[i] = (float)(0.02 * g * (heavy ? fabs(g) : 1));
    }
}

static void run_nmse(struct test *t, const struct test_case *c)
{
    char path[1024];
    json_error_t je;
    snprintf(path, sizeof path, "%s/encode/nmse.json", t->options->vectors);
    json_t *doc = json_load_file(path, 0, &je);
    if (!test_check(t, doc != NULL, "%s: %s", path, je.text)) return;
    json_t *row = json_object_get(json_object_get(doc, "nmse"), c->type);
    float *x = test_alloc(t, ROWS * COLS, sizeof *x), *y = test_alloc(t, ROWS * COLS, sizeof *y);
    static const char *const sets[] = {"normal", "heavy"};
    for (int i = 0; i < 2 && x && y; i++) {
        json_t *figure = json_object_get(row, sets[i]);
        if (!test_check(t, json_is_number(figure), "%s: no figure for %s, %s", path, c->type,
                        sets[i]))
            break;
        fill_figure_set(x, i == 1);
        if (!round_trip(t, type_of(c), x, ROWS, COLS, NULL, y)) break;
        judge(t, sets[i], nmse(x, y, NULL, ROWS * COLS, COLS),
              bound_encoder(json_number_value(figure)));
    }
    json_decref(doc);
}

/* ---- edges ---- */

enum edge {
    EDGE_ZERO,
    EDGE_SIGNED_ZERO,
    EDGE_OUTLIER,
    EDGE_SUBNORMAL,
    EDGE_CONSTANT,
    EDGE_NEGATIVE,
    EDGE_HUGE,
    EDGE_MAX,
    EDGE_TINY,
    EDGE_SPREAD,
    EDGE_SINGLE,
    EDGE_F16_END,
    EDGE_POSITIVE,
    EDGE_COUNT
};

static const char *const edge_names[EDGE_COUNT] = {
    "zeros",        "zeros of both signs", "one outlier",        "subnormals",
    "one value",    "one negative value",  "values around 1e30", "largest values",
    "tiny values",  "1e20 beside 1e-20",   "one value per 256",  "the end of f16",
    "positive ramp"};

static float edge_value(enum edge k, struct rng *r, size_t i)
{
    double g = 2 * rng_uniform(r) - 1;
    switch (k) {
    case EDGE_ZERO:
        return 0;
    case EDGE_SIGNED_ZERO:
        return i % 3 ? -0.0f : 0.0f;
    case EDGE_OUTLIER:
        return (float)(i == 77 ? 1000 : 0.01 * g);
    case EDGE_SUBNORMAL:
        return (float)(g * 1e-40);
    case EDGE_CONSTANT:
        return 0.37f;
    case EDGE_NEGATIVE:
        return -5;
    case EDGE_HUGE:
        return (float)(g * 1e30);
    case EDGE_MAX:
        return i % 3 ? FLT_MAX : -FLT_MAX;
    case EDGE_TINY:
        return (float)(g * 1e-7);
    case EDGE_SPREAD:
        return (float)(g * (i % 2 ? 1e20 : 1e-20));
    case EDGE_SINGLE:
        return i % 256 == 3 ? -1.5f : 0;
    case EDGE_F16_END:
        return (float)(g * 66000);
    case EDGE_POSITIVE:
        return 1 + (float)i;
    case EDGE_COUNT:
        break;
    }
    return 0;
}

/* Zeros decode to zeros; everything decodes to finite values that are no worse than zeros. */
static void run_edge(struct test *t, const struct test_case *c)
{
    float *x = test_alloc(t, COLS, sizeof *x), *y = test_alloc(t, COLS, sizeof *y);
    struct rng r = rng_of(t);
    for (int k = 0; k < EDGE_COUNT && x && y; k++) {
        double top = 0, peak = 0;
        bool finite = true;
        for (size_t i = 0; i < COLS; i++) x[i] = edge_value((enum edge)k, &r, i);
        if (!round_trip(t, type_of(c), x, 1, COLS, NULL, y)) return;
        for (size_t i = 0; i < COLS; i++) {
            finite = finite && isfinite(y[i]);
            top = fmax(top, fabs((double)x[i]));
            peak = fmax(peak, fabs((double)y[i]));
        }
        test_check(t, finite, "%s: decoded values are not finite", edge_names[k]);
        if (top == 0)
            judge(t, edge_names[k], peak, 0);
        else
            judge(t, edge_names[k], nmse(x, y, NULL, COLS, COLS), 1);
    }
}

/* ---- threads ---- */

static void run_threads(struct test *t, const struct test_case *c)
{
    enum { N_ROWS = 37, N_COLS = 512 };
    size_t n = N_ROWS * N_COLS, bytes = type_bytes(c->arg, n);
    float *x = test_alloc(t, n, sizeof *x);
    uint8_t *one = test_alloc(t, bytes, 1), *many = test_alloc(t, bytes, 1);
    if (!x || !one || !many) return;
    struct rng r = rng_of(t);
    for (size_t i = 0; i < n; i++) x[i] = (float)rng_gauss(&r);
    for (size_t i = 0; i < N_ROWS; i++) {
        ref_encode(type_of(c), x + i * N_COLS, N_COLS, NULL, one + i * (bytes / N_ROWS));
    }
    for (int threads = 1; threads <= 3; threads++) {
        ref_set_threads(threads);
        memset(many, 0xa5, bytes);
        ref_encode_rows(type_of(c), x, N_ROWS, N_COLS, NULL, many, NULL, NULL);
        compare_bytes(&t->result, many, one, bytes);
    }
    ref_set_threads(0);
}

/* ---- importance ---- */

/* What counts more must come out better than without being told so. */
static void run_weights(struct test *t, const struct test_case *c)
{
    enum { N_ROWS = 4 };
    size_t n = N_ROWS * COLS;
    float *x = test_alloc(t, n, sizeof *x), *w = test_alloc(t, COLS, sizeof *w);
    float *plain = test_alloc(t, n, sizeof *plain), *weighted = test_alloc(t, n, sizeof *weighted);
    if (!x || !w || !plain || !weighted) return;
    struct rng r = rng_of(t);
    for (size_t i = 0; i < n; i++) x[i] = (float)rng_gauss(&r);
    for (size_t i = 0; i < COLS; i++) w[i] = rng_below(&r, 4) ? 0.01f : 1;
    if (!round_trip(t, type_of(c), x, N_ROWS, COLS, NULL, plain)) return;
    if (!round_trip(t, type_of(c), x, N_ROWS, COLS, w, weighted)) return;
    judge(t, "weighted", nmse(x, weighted, w, n, COLS), nmse(x, plain, w, n, COLS));
    for (size_t i = 0; i < COLS; i++) w[i] = 0;
    if (!round_trip(t, type_of(c), x, N_ROWS, COLS, w, weighted)) return;
    judge(t, "all weights zero", nmse(x, weighted, NULL, n, COLS), nmse(x, plain, NULL, n, COLS));
}

/* ---- plain types ---- */

static float plain_value(enum tensor_type type, uint32_t bits)
{
    float y;
    uint8_t p[4] = {(uint8_t)(bits & 255), (uint8_t)(bits >> 8 & 255), (uint8_t)(bits >> 16 & 255),
                    (uint8_t)(bits >> 24)};
    ref_decode(type, p, 1, &y);
    return y;
}

static uint32_t plain_code(enum tensor_type type, float x)
{
    uint8_t p[4] = {0};
    ref_encode(type, &x, 1, NULL, p);
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void expect_code(struct test *t, enum tensor_type type, float x, uint32_t want)
{
    uint32_t got = plain_code(type, x);
    t->result.total++;
    if (got == want) return;
    t->result.bad++;
    test_fail(t, "%a became %x, expected %x", (double)x, got, want);
}

/* Every finite value of 16 bits, and the ties between neighbours: to the even one. Beyond the
 * largest finite value the encoders stay there. */
static void run_exact16(struct test *t, const struct test_case *c)
{
    enum tensor_type type = type_of(c);
    uint32_t end = type == TYPE_F16 ? 0x7c00 : 0x7f80;
    for (uint32_t code = 0; code < end; code++) {
        float x = plain_value(type, code);
        expect_code(t, type, x, code);
        expect_code(t, type, -x, code | 0x8000);
        if (code + 1 == end) break;
        float middle = (float)(0.5 * ((double)x + (double)plain_value(type, code + 1)));
        expect_code(t, type, middle, code + (code & 1));
        expect_code(t, type, nextafterf(middle, 0), code);
        expect_code(t, type, nextafterf(middle, INFINITY), code + 1);
    }
    expect_code(t, type, FLT_MAX, end - 1);
    expect_code(t, type, -FLT_MAX, (end - 1) | 0x8000);
    if (type == TYPE_F16) {
        expect_code(t, type, 65519.996f, end - 1);
        expect_code(t, type, 65520.0f, end - 1);
    }
}

static void run_exact32(struct test *t, const struct test_case *c)
{
    struct rng r = rng_of(t);
    for (int i = 0; i < 100000; i++) {
        uint32_t bits = (uint32_t)rng_u64(&r);
        if ((bits & 0x7f800000) == 0x7f800000) continue;
        expect_code(t, type_of(c), plain_value(TYPE_F32, bits), bits);
    }
}

static void add(struct case_list *l, const char *op, const struct type_spec *type, bool quick,
                void (*run)(struct test *, const struct test_case *))
{
    case_add(l, &(struct test_case){.suite = "encode",
                                    .op = op,
                                    .type = type->name,
                                    .quick = quick,
                                    .run = run,
                                    .arg = type});
}

void suite_encode(struct case_list *l)
{
    for (const struct type_spec *t = type_next(NULL); t; t = type_next(t)) {
        if (t->use != USE_W) continue;
        add(l, "edge", t, true, run_edge);
        add(l, "threads", t, true, run_threads);
        if (t->block_elems > 1) {
            add(l, "nmse", t, true, run_nmse);
            add(l, "weights", t, true, run_weights);
        } else {
            add(l, "exact", t, true, t->block_bytes == 2 ? run_exact16 : run_exact32);
        }
    }
    encode_add_model_cases(l);
}
