/* Golden op vectors of operations element by element. The claims are in opvec.c. */
#include "selftest/vectors_op.h"

#include <math.h>
#include <string.h>

/* y = f(x, second operand or factor), and its error in units of u |y|. */
static double silu_of(double x, double b)
{
    (void)b;
    return ref_silu(x);
}
static double silu_noise(double x)
{
    (void)x;
    return 6;
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
static double gelu_noise(double x)
{
    const double q = 0.7978845608028654 * (x + 0.044715 * x * x * x);
    return 6 + 7 * fabs(2 * q) / (1 + exp(2 * q));
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
static double gelu_erf_noise(double x)
{
    return 13 + 2 * (x < 0 ? x * x + 1 : 1);
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
static double softcap_noise(double x)
{
    (void)x;
    return 8;
}
static double oai_noise(double x)
{
    const double z = 1.702 * fmin(x, 7);
    return 9 + 2 * fabs(z) / (1 + exp(z));
}

static const struct flat_vec {
    const char *op;
    bool gated; /* inputs are a and b instead of x */
    double (*value)(double x, double b), (*noise)(double x);
} ops[] = {
    {"silu", false, silu_of, silu_noise},
    {"gelu", false, gelu_of, gelu_noise},
    {"gelu_erf", false, gelu_erf_of, gelu_erf_noise},
    {"sigmoid", false, sigmoid_of, silu_noise},
    {"softcap", false, ref_softcap, softcap_noise},
    {"silu_mul", true, silu_mul_of, silu_noise},
    {"gelu_mul", true, gelu_mul_of, gelu_noise},
    {"gelu_erf_mul", true, gelu_erf_mul_of, gelu_erf_noise},
    {"swiglu_oai", true, ref_clamped_swiglu, oai_noise},
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
        bound[i] = (f->noise(a[i]) + (f->gated ? 1 : 0)) * VEC_U64 * fabs(want[i]);
    }
    vec_judge(v, &(struct vec_judged){"y", y, want, bound, 1, n});
}
