/* The suite of the judge's own arithmetic: every class of tolerance just inside and just outside
 * of its bound, what is not a number, the limit of a row, and the value of every formula of
 * bounds.c. The numbers due were worked out by hand: with a magnitude of 2^24, the roundoff of
 * binary32 is 1. */
#include "selftest/selftest.h"
#include "judge/bounds.h"
#include "judge/compare.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { COLS = 64, PLACE = 37 }; /* elements of a row; the one that is off */

static const double ONE_U = 16777216; /* 2^24: the magnitude whose roundoff is 1 */

/* ---- classes of tolerance -------------------------------------------------------------------- */

static const struct point {
    enum tol_class cls;
    double want, mag;
    size_t n;
    bool flushes;
    double bound; /* that is due */
} points[] = {
    {TOL_EXACT, 3, 0, 1, false, 0},
    {TOL_EXACT, 0, ONE_U, 100, true, 0},
    /* n + 2 for short sums, 8 sqrt(n) for long ones */
    {TOL_DOT, 0, ONE_U, 1, false, 3},
    {TOL_DOT, 1000, ONE_U, 50, false, 52},
    {TOL_DOT, -1000, ONE_U, 100, false, 80},
    {TOL_DOT, 0, ONE_U, 10000, false, 800},
    {TOL_DOT, 0, 2 * ONE_U, 100, false, 160},
    {TOL_DOT, 5, 0, 100, false, 0},
    {TOL_DOT, 0, 0x1p-102, 2, false, 0x1p-124 + 0x1p-147},
    {TOL_DOT, 0, 0x1p-102, 2, true, 0x1p-123},
    /* sqrt(n) / 2 + 8, or n + 8 */
    {TOL_REDUCE, 0, ONE_U, 0, false, 8},
    {TOL_REDUCE, 0, ONE_U, 1, false, 8.5},
    {TOL_REDUCE, 1000, ONE_U, 100, false, 13},
    {TOL_REDUCE, 0, ONE_U, 10000, false, 58},
    {TOL_REDUCE, 5, 0, 100, false, 0},
    {TOL_REDUCE, 0, 0x1p-102, 0, true, 0x1p-122},
    /* 8 units in the last place, plus the magnitude */
    {TOL_ULP8, 8388608, 0, 1, false, 8},
    {TOL_ULP8, -12582912, 0, 1, false, 8},
    {TOL_ULP8, 16777199, 0, 1, false, 8},
    {TOL_ULP8, 16777216, 0, 1, false, 16},
    {TOL_ULP8, 8388608, 4, 1, false, 12},
    {TOL_ULP8, 0, 0, 1, false, 0x1p-146},
    {TOL_ULP8, 0x1p-127, 0, 1, false, 0x1p-146},
    {TOL_ULP8, 0, 0, 1, true, 0x1p-123},
};

/* Compares a row of which one element is got, and the others are as the reference has them. */
static struct case_result judged(const struct point *p, float got)
{
    float x[COLS];
    double want[COLS], mag[COLS];
    struct case_result r = {.nmse_worst_row = NAN, .flushes = p->flushes};
    for (size_t i = 0; i < COLS; i++) {
        x[i] = i == PLACE ? got : (float)p->want;
        want[i] = p->want;
        mag[i] = p->mag;
    }
    compare(
        &r,
        &(struct comparison){
            .cls = p->cls, .got = x, .want = want, .mag = mag, .rows = 1, .cols = COLS, .n = p->n});
    return r;
}

/* One element that is off by share of the bound, or by a little more (beyond), in a direction. */
static void check_place(struct test *t, const struct point *p, double share, bool beyond, int sign,
                        enum case_status due)
{
    float got = (float)(p->want + sign * share * p->bound);
    if (beyond) got = nextafterf(got, (float)sign * INFINITY);
    const double error = fabs((double)got - p->want);
    const double used = error == 0 ? 0 : error / p->bound;
    const struct case_result r = judged(p, got);
    const size_t row = (size_t)(p - points);
    t->result.total++;
    test_check(t, r.status == due, "row %zu: %.9g of %.9g is %s, but should be %s", row, error,
               p->bound, case_status_name(r.status), case_status_name(due));
    test_check(t, r.error == error && r.used == used && r.bound == (error == 0 ? 0 : p->bound),
               "row %zu: error %.17g, bound %.17g, used %.17g; should be %.17g, %.17g, %.17g", row,
               r.error, r.bound, r.used, error, p->bound, used);
    test_check(t,
               r.bad == (due == CASE_FAIL) && r.total == COLS && (!r.bad || r.first_bad == PLACE),
               "row %zu: %zu of %zu are bad, the first is %zu", row, r.bad, r.total, r.first_bad);
}

static void run_class(struct test *t, const struct test_case *c)
{
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        const struct point *p = &points[i];
        if ((size_t)p->cls != c->index) continue;
        for (int sign = -1; sign <= 1; sign += 2) {
            check_place(t, p, 0, false, sign, CASE_PASS);
            check_place(t, p, 1, true, sign, CASE_FAIL);
            if (p->bound == 0) continue;
            check_place(t, p, 0.5, false, sign, CASE_PASS);
            check_place(t, p, 0.5, true, sign, CASE_MARGINAL);
            check_place(t, p, 1, false, sign, CASE_MARGINAL);
        }
    }
    test_check(t, t->result.total > 0, "the class has no rows");
}

/* ---- what is not a number -------------------------------------------------------------------- */

static void check_special(struct test *t, enum tol_class cls, double want, float got, bool passes)
{
    const struct point p = {.cls = cls, .want = want, .mag = ONE_U, .n = 4};
    const struct case_result r = judged(&p, got);
    t->result.total++;
    test_check(t, r.status == (passes ? CASE_PASS : CASE_FAIL), "class %d: %g where %g is due: %s",
               (int)cls, (double)got, want, case_status_name(r.status));
    if (!passes)
        test_check(t, isinf(r.used) && r.bad == 1 && r.first_bad == PLACE,
                   "class %d: %g where %g is due: used %g, %zu bad", (int)cls, (double)got, want,
                   r.used, r.bad);
}

static void run_nan(struct test *t, const struct test_case *c)
{
    static const enum tol_class classes[] = {TOL_EXACT, TOL_DOT, TOL_REDUCE, TOL_ULP8};
    (void)c;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        check_special(t, classes[i], 1, NAN, false);
        check_special(t, classes[i], 1, INFINITY, false);
        check_special(t, classes[i], INFINITY, FLT_MAX, false);
        check_special(t, classes[i], INFINITY, -INFINITY, false);
        check_special(t, classes[i], -INFINITY, NAN, false);
        check_special(t, classes[i], NAN, 1, false);
        check_special(t, classes[i], NAN, NAN, true);
        check_special(t, classes[i], INFINITY, INFINITY, true);
    }
    const double want[2] = {1, 1}, no_bound[2] = {1, NAN};
    const float nan[2] = {1, NAN}, near[2] = {1, 1.5f};
    struct case_result r = {.used = 0}, s = {.used = 0}, one = {.used = 0};
    compare_within(&r, nan, want, want, 2, 1);
    test_check(t, r.status == CASE_FAIL && r.bad == 1, "a NaN is within a bound");
    compare_within(&s, near, want, no_bound, 2, 1);
    test_check(t, s.status == CASE_FAIL && isinf(s.used), "an error is within a bound of NaN");
    test_check(t, !compare_error(&one, NAN, 1) && isinf(one.used),
               "a single NaN is within a bound");
}

/* Values that are equal although they are not numbers, and those that are equal but for their
 * bits. */
static void run_equal(struct test *t, const struct test_case *c)
{
    const float got[4] = {NAN, INFINITY, -INFINITY, 0.0f};
    const double want[4] = {NAN, INFINITY, -INFINITY, -0.0}, bound[4] = {0};
    const float bits[4] = {-NAN, INFINITY, -INFINITY, -0.0f};
    struct case_result r = {.used = 0}, s = {.used = 0}, p = {.used = 0};
    uint32_t poison = COMPARE_POISON;
    float never;
    (void)c;
    compare_within(&r, got, want, bound, 1, 4);
    test_check(t, r.status == CASE_PASS && r.used == 0, "equal values differ: %s", r.pattern);
    compare_bits(&s, got, bits, 1, 4);
    test_check(t, s.status == CASE_FAIL && s.bad == 1 && s.first_bad == 3 && s.error == 0x1p-149,
               "bits: %zu bad, the first is %zu, error %g", s.bad, s.first_bad, s.error);
    memcpy(&never, &poison, sizeof never);
    compare_within(&p, &never, &ONE_U, &ONE_U, 1, 1);
    test_check(t, strstr(p.pattern, "1 never written") != NULL, "poison is told as: %s", p.pattern);
    t->result.total = 9;
}

/* ---- the limit of a row
 * ------------------------------------------------------------------------ */

/* A row whose errors are all the same share of their bounds, or a little more. */
static void check_row(struct test *t, size_t cols, double share, bool beyond, enum case_status due)
{
    float got[COLS];
    double want[COLS] = {0}, bound[COLS];
    struct case_result r = {.nmse_worst_row = NAN};
    for (size_t i = 0; i < cols; i++) {
        bound[i] = 8;
        got[i] = (float)(share * bound[i]);
        if (beyond) got[i] = nextafterf(got[i], INFINITY);
    }
    compare_within(&r, got, want, bound, 1, cols);
    t->result.total++;
    test_check(t, r.status == due && r.bad == 0 && (due == CASE_FAIL) == (*r.message != 0),
               "%zu errors of %.9g of their bounds: %s, but should be %s", cols, r.used,
               case_status_name(r.status), case_status_name(due));
}

static void run_row(struct test *t, const struct test_case *c)
{
    (void)c;
    for (size_t cols = 16; cols <= COLS; cols += 16) {
        check_row(t, cols, 0.25, false, CASE_PASS);
        check_row(t, cols, 0.25, true, CASE_FAIL);
    }
    for (size_t cols = 1; cols < 16; cols += 7) {
        check_row(t, cols, 0.5, false, CASE_PASS);
        check_row(t, cols, 0.5, true, CASE_FAIL);
    }
    /* one element carries the bound of its row */
    float got[COLS] = {4};
    double want[COLS] = {0}, bound[COLS] = {8};
    for (size_t i = 1; i < COLS; i++) bound[i] = 0x1p-10;
    struct case_result r = {.nmse_worst_row = NAN}, s = r;
    compare_within(&r, got, want, bound, 1, COLS);
    test_check(t, r.status == CASE_PASS, "half of the only large bound: %s", r.message);
    got[0] = 4.0001f;
    compare_within(&s, got, want, bound, 1, COLS);
    test_check(t, s.status == CASE_FAIL && s.bad == 0,
               "more than half of the only large bound passes");
}

/* ---- the value of every formula
 * ---------------------------------------------------------------- */

struct figure {
    const char *what;
    double is, due;
};

/* due is written in decimals or as a power of two: equal but for the last digits of the former. */
static void check_figures(struct test *t, const struct figure *f, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        t->result.total++;
        test_check(t, fabs(f[i].is - f[i].due) <= 0x1p-45 * fabs(f[i].due),
                   "%s is %.17g, but should be %.17g", f[i].what, f[i].is, f[i].due);
    }
}
#define CHECK_FIGURES(t, f) check_figures(t, f, sizeof(f) / sizeof *(f))

static void run_operations(struct test *t, const struct test_case *c)
{
    static const double scores[] = {0x1p-22, 0x1p-21, 0}; /* 4 u, 8 u */
    const struct figure figures[] = {
        {"rounded", bound_rounded(-ONE_U), 1},
        {"exp", bound_exp_floor(3, -1), 0x1p-121},
        {"tanh", bound_tanh_floor(-0x1p22, 1), 1},
        {"tanh, gain", bound_tanh_floor(0x1p20, 8), 2},
        {"sigmoid", bound_sigmoid_floor(5, 5), 0x1p-123},
        {"cap", bound_cap_floor(1, 0x1p23), 1},
        {"swiglu_oai at 0", bound_swiglu_oai_floor(0, 0), 0x1p-123},
        {"swiglu_oai at 1", bound_swiglu_oai_floor(1, 0), 2.646253593248281e-08},
        {"softmax", bound_softmax_magnitude(0.5, 4), 1},
        {"softmax, hidden", bound_softmax_magnitude(0, INFINITY), 0x1p-102},
        {"score", bound_score(1, 0, ONE_U, 100), 80},
        {"score, capped", bound_score(0x1p23, ONE_U, ONE_U, 100), 70},
        {"score, hidden", bound_score(-INFINITY, 30, ONE_U, 100), 0},
        {"gain", bound_attention_gain(scores, 3, 0), 3},
        {"gain, sink", bound_attention_gain(scores, 3, -6), 4},
    };
    (void)c;
    CHECK_FIGURES(t, figures);
}

static void run_experts(struct test *t, const struct test_case *c)
{
    const struct figure figures[] = {
        {"gate, sigmoid", bound_gate_sigmoid(), 0x1p-20},
        {"gate, softmax", bound_gate_softmax(4, 256), 0x1p-19},
        {"selection", bound_selection(1, ONE_U, 0), 1},
        {"selection, bias", bound_selection(1, -ONE_U, 0.5), 2},
        {"group", bound_group_score(1, -0x1p23), 5},
        {"order", bound_weight_order(-1, 0x1p17), 1},
        {"normalised", bound_normalised(1, 2, 16777214), 4},
        {"weight", bound_route_weight(1, -2), 2 + 0x1p-22},
        {"weight of 0", bound_route_weight(1, 0), 0x1p-126},
        {"equal", bound_clear(1, 1, 5), true},
        {"near", bound_clear(1, 5, 1), false},
        {"apart", bound_clear(1, 5.0001, 1), true},
    };
    (void)c;
    CHECK_FIGURES(t, figures);
}

static void run_foreign(struct test *t, const struct test_case *c)
{
    const struct figure figures[] = {
        {"value", bound_foreign_value(1, 1, 0, 9), 6},
        {"value, sums in f16", bound_foreign_value(1, 1, 4, 0.5), 12},
        {"value, large", bound_foreign_value(1, 1, 4, 2), 18},
        {"hidden score", bound_hidden_score(3, 4), 12},
        {"operation, local", bound_foreign_op(1, 4, 0), 4},
        {"operation, own values", bound_foreign_op(1, 4, ONE_U), 64},
        {"angle", bound_foreign_angle(1, 0x1p20), 1},
        {"sum in Q8_1", bound_q8_1_sum(512, -2), 1},
        {"unknown", bound_unknown(-2e6), 2},
        {"printed", bound_printed(), 0.000051},
        {"shown value", bound_log_value(-0x1p20, 3), 4.000000001},
        {"sum of shown values", bound_log_sum_shown(2, 0x1p23), 1.000103},
        {"sum of all values", bound_log_sum_all(4, 1000), 9.000051},
        {"share", bound_share(bound_share_default(), 2000), 2},
        {"share of a log", bound_log_share(0.001, 2000), 2.00011},
    };
    (void)c;
    CHECK_FIGURES(t, figures);
}

static void run_whole(struct test *t, const struct test_case *c)
{
    const struct figure figures[] = {
        {"golden", bound_golden(), 0.000000001},
        {"golden, 8 bits", bound_golden_native(10), 11.000000001},
        {"encoder", bound_encoder(10), 11},
        {"count", bound_count(100, 0.5), 30},
        {"deviations", bound_rounding_deviations(), 6},
        {"half is no remark", bound_is_marginal(0.5), false},
        {"more than half is", bound_is_marginal(nextafter(0.5, 1)), true},
        {"NaN is", bound_is_marginal(NAN), true},
    };
    (void)c;
    CHECK_FIGURES(t, figures);
}

/* ---- collecting ------------------------------------------------------------------------------ */

void suite_bounds(struct case_list *l)
{
    static const char *const classes[] = {
        [TOL_EXACT] = "exact", [TOL_DOT] = "dot", [TOL_REDUCE] = "reduce", [TOL_ULP8] = "ulp8"};
    static const struct {
        const char *op;
        void (*run)(struct test *t, const struct test_case *c);
    } others[] = {{"nan", run_nan},         {"equal", run_equal},
                  {"row", run_row},         {"operations", run_operations},
                  {"experts", run_experts}, {"foreign", run_foreign},
                  {"whole", run_whole}};
    struct test_case c = {.suite = "bounds", .op = "class", .quick = true, .run = run_class};
    for (c.index = 0; c.index < sizeof classes / sizeof *classes; c.index++) {
        c.shape = classes[c.index];
        case_add(l, &c);
    }
    c.shape = NULL;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        c.op = others[i].op, c.run = others[i].run;
        case_add(l, &c);
    }
}
