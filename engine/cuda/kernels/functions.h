/* Functions of one number, from additions, products and fma only: the same bits on every device and
 * on the processor. Their errors are a few units in the last place. */
#ifndef CUDA_FUNCTIONS_H
#define CUDA_FUNCTIONS_H

#include "kernel.h"

/* exp(x + low), low a small correction: about 1 ulp where the result is normal. 2^k * exp(r),
 * |r| <= ln(2)/2, by the Taylor series of degree 7 (its rest is below 2^-26 there). */
DEVICE_FN float k_exp_sum(float x, float low)
{
    if (!(x <= 88.8f)) return x != x ? x : K_INFINITY;
    if (x < -104.0f) return 0.0f;
    float k = rintf(x * 1.44269504f);
    float r = fmaf(k, -0.693359375f, x); /* exact: 0.693359375 has 9 bits */
    r = fmaf(k, 2.12194440e-4f, r) + low;
    float p = 1.98412698e-4f;
    p = fmaf(p, r, 1.38888889e-3f);
    p = fmaf(p, r, 8.33333333e-3f);
    p = fmaf(p, r, 4.16666667e-2f);
    p = fmaf(p, r, 1.66666667e-1f);
    p = fmaf(p, r, 0.5f);
    p = fmaf(p * r, r, r) + 1.0f;
    int32_t e = (int32_t)k, half = e / 2; /* in two steps: 2^k alone may not be a normal number */
    return p * __uint_as_float((uint32_t)(half + 127) << 23) *
           __uint_as_float((uint32_t)(e - half + 127) << 23);
}

DEVICE_FN float k_exp(float x)
{
    return k_exp_sum(x, 0.0f);
}

/* x / (1 + exp(-(z + low))). For negative z through exp(z), so that nothing overflows; far down
 * through exp(z/2) twice, so that a result that is still a normal number keeps its bits. */
DEVICE_FN float k_logistic_times(float x, float z, float low)
{
    if (z >= 0.0f) return x / (1.0f + k_exp_sum(-z, -low));
    if (z < -80.0f) {
        float t = k_exp_sum(0.5f * z, 0.5f * low);
        return x * t * t;
    }
    float t = k_exp_sum(z, low);
    return x * t / (1.0f + t);
}

DEVICE_FN float k_silu(float x)
{
    return k_logistic_times(x, x, 0.0f);
}

/* tanh form: 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), 2u = c x (1 + a x^2), c = 2 sqrt(2/pi),
 * a = 0.044715. 2u reaches 100 where the result still counts, so it is kept in two floats. */
DEVICE_FN float k_gelu(float x)
{
    if (x > 12.0f) return x;
    if (x < -12.0f) return -0.0f;                              /* below the smallest number */
    const float c_hi = 1.59576917f, c_lo = -4.53406805e-8f;    /* c */
    const float ca_hi = 0.0713548139f, ca_lo = 2.39883247e-9f; /* c a */
    float h = x * x, l = fmaf(x, x, -h);
    float q = ca_hi * h;
    float q_lo = fmaf(ca_hi, h, -q) + fmaf(ca_hi, l, ca_lo * h);
    float s = c_hi + q, b = s - c_hi;
    float s_lo = (c_hi - (s - b)) + (q - b) + (c_lo + q_lo);
    float z = x * s;
    return k_logistic_times(x, z, fmaf(x, s, -z) + x * s_lo);
}

/* exact form: x Phi(x). Near 0, Phi is 1/2 + x q(x^2). Else through Phi(-t) = E(t) exp(-t^2/2): E(t)
 * (1 + sqrt(pi/2) t) lies between 0.5 and 0.59 everywhere, and a polynomial of degree 10 in an image
 * of t in [-1, 1] gives it to 3e-9 for t <= 14.5. */
DEVICE_FN float k_gelu_erf(float x)
{
    if (x > 6.0f) return x;       /* Phi rounds to 1 */
    if (x < -14.5f) return -0.0f; /* below the smallest number */
    float t = fabsf(x);
    if (t < 0.9f) {
        float h = x * x, q = -7.96875884e-6f;
        q = fmaf(q, h, 1.14130411e-4f);
        q = fmaf(q, h, -1.18678827e-3f);
        q = fmaf(q, h, 9.97345528e-3f);
        q = fmaf(q, h, -6.6490373e-2f);
        q = fmaf(q, h, 0.39894228f);
        return x * fmaf(x, q, 0.5f);
    }
    float u = 10.8331034f / (t + 4.2f) - 1.57931034f;
    float p = -9.37409931e-6f;
    p = fmaf(p, u, 3.53987516e-6f);
    p = fmaf(p, u, 1.61283556e-4f);
    p = fmaf(p, u, 1.9419576e-4f);
    p = fmaf(p, u, -2.05344637e-3f);
    p = fmaf(p, u, -1.16018516e-2f);
    p = fmaf(p, u, -3.17526138e-2f);
    p = fmaf(p, u, -5.13077313e-2f);
    p = fmaf(p, u, -3.61570053e-2f);
    p = fmaf(p, u, 5.01922201e-2f);
    p = fmaf(p, u, 0.582330783f);
    float h = 0.5f * x * x, low = 0.5f * fmaf(x, x, -(x * x));
    p /= fmaf(1.25331414f, t, 1.0f);
    if (x < 0.0f) return x * p * k_exp_sum(-h, -low);
    return fmaf(-x, p * k_exp_sum(-h, -low), x);
}

/* Near 0 a polynomial in z^2, else through exp, which loses nothing where tanh is above 0.5. */
DEVICE_FN float k_tanh(float z)
{
    float t = fabsf(z);
    if (t < 0.55f) {
        float u = z * z, p = -6.61022784e-3f;
        p = fmaf(p, u, 2.13093887e-2f);
        p = fmaf(p, u, -5.39094288e-2f);
        p = fmaf(p, u, 0.133331137f);
        p = fmaf(p, u, -0.33333332f);
        return fmaf(p * u, z, z);
    }
    return copysignf(1.0f - 2.0f / (k_exp(2.0f * t) + 1.0f), z);
}

DEVICE_FN float k_sigmoid(float x)
{
    return k_logistic_times(1.0f, x, 0.0f);
}

DEVICE_FN float k_softcap(float x, float cap)
{
    if (fabsf(x) < 1e-4f * cap) return x; /* x / cap may be too small to be exact */
    return cap * k_tanh(x / cap);
}

/* g / (1 + exp(-1.702 g)) * (u + 1), g = min(a, 7), u = b in [-7, 7]. 1.702 g reaches 100 where the
 * result still counts, so it is kept in two floats. */
DEVICE_FN float k_swiglu_oai(float a, float b)
{
    const float c_hi = 1.70200002f, c_lo = -2.19345093e-8f; /* 1.702 */
    float g = a > 7.0f ? 7.0f : a, u = b > 7.0f ? 7.0f : b < -7.0f ? -7.0f : b;
    float z = c_hi * g;
    return k_logistic_times(g, z, fmaf(c_hi, g, -z) + c_lo * g) * (u + 1.0f);
}

#endif
