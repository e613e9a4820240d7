/* Golden op vectors of operations element by element. The claims are in vectors_op_claims.c. */
#include "selftest/vectors_op.h"

#include <math.h>
#include <string.h>

/* y = f(x, second operand or factor), and its error in units of u |y|. */
static double silu_of(double x, double b)
{
    (void)b;
    return ref_silu(x);
}
static double silu_mul_of(double x, double b)
{
    return ref_silu(x) * b;
}

static double gelu_of(double x, double b)
{
    (void)b;
    return ref_gelu(x);
}
static double gelu_mul_of(double x, double b)
{
    return ref_gelu(x) * b;
}

static double gelu_erf_of(double x, double b)
{
    (void)b;
    return ref_gelu_erf(x);
}
static double gelu_erf_mul_of(double x, double b)
{
    return ref_gelu_erf(x) * b;
}

static double sigmoid_of(double x, double b)
{
    (void)b;
    return ref_sigmoid(x);
}

static const struct flat_vec {
    const char *op;
    bool gated; /* inputs are a and b instead of x */
    double (*value)(double x, double b), (*noise)(double x);
} ops[] = {
    {"silu", false, silu_of, claim_silu},
    {"gelu", false, gelu_of, claim_gelu},
    {"gelu_erf", false, gelu_erf_of, claim_gelu_erf},
    {"sigmoid", false, sigmoid_of, claim_silu},
    {"softcap", false, ref_softcap, claim_softcap},
    {"silu_mul", true, silu_mul_of, claim_silu},
    {"gelu_mul", true, gelu_mul_of, claim_gelu},
    {"gelu_erf_mul", true, gelu_erf_mul_of, claim_gelu_erf},
    {"swiglu_oai", true, ref_clamped_swiglu, claim_swiglu_oai},
};

static const struct flat_vec *flat_vec(const char *op)
{
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (strcmp(ops[i].op, op) == 0) return &ops[i];
    return NULL;
}

void opvec_flat(struct vec *v)
{
    const struct flat_vec *f = flat_vec(v->op);
    if (!test_check(v->t, f != NULL, "%s is no operation of this kind", v->op)) return;
    const char *first = f->gated ? "a" : "x";
    const size_t n = (size_t)vec_dims(v, first)[0];
    const double *a = vec_wide(v, first, n), *b = f->gated ? vec_wide(v, "b", n) : NULL;
    const double factor = strcmp(f->op, "softcap") == 0 ? vec_number(v, "factor") : 1;
    const double *want = vec_f64(v, "y", n);
    double *y = vec_room(v, n), *bound = vec_room(v, n);
    if (!v->ok) return;
    for (size_t i = 0; i < n; i++) {
        y[i] = f->value(a[i], b ? b[i] : factor);
        bound[i] = claim_flat(f->noise(a[i]), f->gated, want[i]);
    }
    vec_judge(v, &(struct vec_judged){"y", y, want, bound, 1, n});
}
