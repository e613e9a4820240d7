/* exp and the functions made of it, for loops that the compiler vectorises. They work in double and
 * are rounded to f32 once: within 0.51 ulp of the exact value over the whole range. */
#ifndef CPU_EXP_H
#define CPU_EXP_H

#include <math.h>
#include <stdint.h>

/* e^x = scale (1 + tail), scale a power of two, for -700 <= x <= 700.
 * x = n ln 2 + r, |r| <= ln(2)/2; tail = e^r - 1 by its series up to r^9/9!, whose rest is < 2^-34
 * of it. */
struct exp_parts {
    double scale, tail;
};

static inline struct exp_parts exp_split(double x)
{
    const double shift = 0x1.8p52; /* adding it rounds to an integer, held in the low bits */
    union {
        double d;
        uint64_t u;
    } n, scale;
    n.d = x * 0x1.71547652b82fep0 + shift;
    double r = x - (n.d - shift) * 0x1.62e42fefa39efp-1;
    double p = 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r + 1.0;
    scale.u = (n.u << 52) + 0x3ff0000000000000u;
    return (struct exp_parts){scale.d, p * r};
}

static inline double clamp_exponent(double x)
{
    x = x > 700.0 ? 700.0 : x;
    return x < -700.0 ? -700.0 : x;
}

/* e^x to 2^-31 for -700 <= x <= 700; beyond, as at the end; NaN gives NaN. */
static inline double exp_wide(double x)
{
    struct exp_parts e = exp_split(clamp_exponent(x));
    return (e.tail + 1.0) * e.scale;
}

/* e^x - 1, as accurate for small x. */
static inline double expm1_wide(double x)
{
    struct exp_parts e = exp_split(clamp_exponent(x));
    return e.tail * e.scale + (e.scale - 1.0);
}

static inline double tanh_wide(double x)
{
    double t = expm1_wide(-2.0 * fabs(x));
    return copysign(t / (2.0 + t), x);
}

static inline double softcap_wide(double x, double cap)
{
    return cap * tanh_wide(x / cap);
}

/* x / (1 + e^-v), without the cancellation and overflow of that form for v < 0. Infinite v < 0
 * with infinite x gives NaN, as that form does. */
static inline double over_logistic(double x, double v)
{
    double a = v < 0.0 ? v : -v;
    double t = a < -700.0 ? 0.0 : exp_wide(a);
    return x * (v < 0.0 ? t : 1.0) / (1.0 + t);
}

static inline double silu_wide(double x)
{
    return over_logistic(x, x);
}

/* 0.5 x (1 + tanh(u)) = x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3) */
static inline double gelu_wide(double x)
{
    return over_logistic(x, 1.5957691216057307 * (x + 0.044715 * x * x * x));
}

static inline double sigmoid_wide(double x)
{
    return over_logistic(1.0, x);
}

/* erfc(z) = t g(t) e^(-z^2) for z >= 0, t = 1 / (1 + 0.4 z): g is smooth up to t = 0, which is z =
 * infinity. Its polynomial, interpolated in 13 Chebyshev nodes of [0, 1], is within 2^-30 of it
 * relatively, so that nothing cancels however small erfc is. squared = z^2. */
static inline double erfc_wide(double z, double squared)
{
    double t = 1.0 / (1.0 + 0.4 * z);
    double g = 0x1.33f2f74fc74f1p-6;
    g = g * t - 0x1.b7bb8250c3fa8p-4;
    g = g * t + 0x1.e6644855921a9p-3;
    g = g * t - 0x1.e654190177808p-3;
    g = g * t + 0x1.9d99b3ef1fea2p-4;
    g = g * t - 0x1.db25835864184p-5;
    g = g * t + 0x1.c5a121bdc9196p-6;
    g = g * t + 0x1.0cdd439e8a6aap-4;
    g = g * t + 0x1.f2a24d5576b0bp-4;
    g = g * t + 0x1.5f44209bbb58dp-3;
    g = g * t + 0x1.a93568167dcc9p-3;
    g = g * t + 0x1.ce2f22d1a3346p-3;
    g = g * t + 0x1.ce2f219f4fb13p-3;
    return t * g * exp_wide(-squared);
}

/* 0.5 x (1 + erf(x / sqrt(2))) = x erfc(-x / sqrt(2)) / 2 */
static inline double gelu_erf_wide(double x)
{
    double half = 0.5 * erfc_wide(fabs(x) * 0x1.6a09e667f3bcdp-1, 0.5 * x * x);
    return x * (x < 0.0 ? half : 1.0 - half);
}

/* With g and u clamped: g / (1 + e^(-1.702 g)) (u + 1). NaN stays NaN. */
static inline double swiglu_oai_wide(double g, double u)
{
    g = g > 7.0 ? 7.0 : g;
    u = u > 7.0 ? 7.0 : u;
    u = u < -7.0 ? -7.0 : u;
    return over_logistic(g, 1.702 * g) * (u + 1.0);
}

#endif
