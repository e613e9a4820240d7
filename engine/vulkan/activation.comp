/* A function of a, times b (GATED). All but GELU_ERF are f / (1 + exp(-z)):
 *   silu:     f = a, z = a
 *   GELU:     f = a, z = 2 sqrt(2/pi) (a + 0.044715 a^3), since (1 + tanh(z/2)) / 2 = 1 / (1 + exp(-z))
 *   SIGMOID:  f = 1, z = a
 *   OAI:      f = g, z = 1.702 g, g = min(a, 7); times clamp(b, -7, 7) + 1
 * GELU_ERF, gelu in its exact form, is a Q(-a) with the upper tail Q(t) = erfc(t / sqrt(2)) / 2 of the
 * normal distribution. exp(z) magnifies a relative error of z by |z|, so z is kept as a sum of two
 * floats. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#include "number.glsl"

layout(set = 0, binding = 0) readonly buffer A { float a[]; };
layout(set = 0, binding = 1) readonly buffer B { float b[]; };
layout(set = 0, binding = 2) writeonly buffer Out { float result[]; };

/* x * y = p + returned error, by halves of 12 bits (Dekker). */
float product(float x, float y, out float error)
{
    precise float p = x * y;
    const float xh = uintBitsToFloat(floatBitsToUint(x) & 0xfffff000u);
    const float yh = uintBitsToFloat(floatBitsToUint(y) & 0xfffff000u);
    precise float xl = x - xh, yl = y - yh;
    precise float r = ((xh * yh - p) + xh * yl + xl * yh) + xl * yl;
    error = r;
    return p;
}

/* z of gelu for |x| < 20 as its leading part; low gets the rest. */
float gelu_exponent(float x, out float low)
{
    /* 2 sqrt(2/pi) and 0.044715 times it, each as a sum of two floats */
    const float k0 = 1.5957692, k1 = -4.53406804e-8;
    const float c0 = 0.071354814, c1 = 2.3988324e-9;
    float square_low, t_low, z_low;
    const float square = product(x, x, square_low);
    const float t = product(c0, square, t_low);
    precise float rest = t_low + (c0 * square_low + c1 * square);
    precise float v = k0 + t;
    /* what the sum lost; which term is the larger depends on x */
    precise float back = v - k0;
    precise float lost = (k0 - (v - back)) + (t - back);
    rest = rest + (lost + k1);
    const float z = product(x, v, z_low);
    precise float l = z_low + x * rest;
    low = l;
    return z;
}

/* x exp(z) y for z < 0: the power of two comes last, so that a product that ends normal does not pass
 * through subnormals. */
float tail(float x, float z, float low, float y)
{
    int n;
    const float m = exp_parts(max(z, -208.0), low, n);
    const int n3 = n / 3;
    precise float r = x * m * power2(n3) * y * power2(n3) * power2(n - 2 * n3);
    return r;
}

/* f / (1 + exp(-z)) * y */
float logistic(float f, float z, float low, float y)
{
    if (z < -40.0) return tail(f, z, low, y); /* 1 + exp(z) is 1 */
    int n;
    const float m = exp_parts(max(-z, -100.0), -low, n);
    precise float e = m * power2(max(n, -126));
    precise float r = f / (1.0 + e) * y;
    return r;
}

/* x times the normal distribution below x, times y, for |x| < 20. Q(t) = exp(-t^2/2) R(t), where
 * (t + 2.5) R(t) is a polynomial in s = (t - 2.5) / (t + 2.5): fitted at Chebyshev's points for t up
 * to 20, its error is below 2^-25. */
float gelu_normal(float x, float y)
{
    const float t = abs(x);
    precise float f = 1.0 / (t + 2.5), s = (t - 2.5) * f;
    precise float p = -1.63254634e-4;
    p = p * s - 3.19530285e-4;
    p = p * s + 6.88887434e-4;
    p = p * s + 2.53277365e-3;
    p = p * s - 1.60153257e-3;
    p = p * s - 1.63893476e-2;
    p = p * s + 9.2357751e-3;
    p = p * s + 1.31987348e-1;
    p = p * s - 4.33692008e-1;
    p = p * s + 7.06656635e-1;
    p = p * f;
    float low;
    const float square = product(t, t, low);
    if (x < 0.0) return tail(x * p, -0.5 * square, -0.5 * low, y);
    precise float r = x * (1.0 - tail(p, -0.5 * square, -0.5 * low, 1.0)) * y;
    return r;
}

bool is_nan(float x) { return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u; }

#ifdef OAI
float activate(float a, float b)
{
    if (is_nan(a) || is_nan(b)) return NOT_A_NUMBER;
    if (floatBitsToUint(a) == 0xff800000u) return NOT_A_NUMBER; /* -inf / inf */
    const float g = min(a, 7.0);
    float low;
    const float z = product(1.70200002, max(g, -1e3), low);
    precise float l = low - 2.19345093e-8 * max(g, -1e3), up = clamp(b, -7.0, 7.0) + 1.0;
    return logistic(g, z, l, up);
}
#else
float activate(float x, float y)
{
#ifdef SIGMOID
    return is_nan(x) ? x : logistic(1.0, x, 0.0, y);
#else
    if (floatBitsToUint(x) == 0xff800000u) return NOT_A_NUMBER; /* -inf * 0 */
    float low = 0.0, z = x;
#if defined GELU || defined GELU_ERF
    if (x < -20.0) return x * 0.0 * y;
    if (x > 20.0) return x * y;
#endif
#ifdef GELU_ERF
    return is_nan(x) ? x : gelu_normal(x, y);
#else
#ifdef GELU
    z = gelu_exponent(x, low);
#endif
    return logistic(x, z, low, y);
#endif
#endif
}
#endif

void main()
{
    const uint i = global_index();
    if (i >= n_in) return;
#if defined GATED || defined OAI
    result[base[2] + i] = activate(a[base[0] + i], b[base[1] + i]);
#else
    result[base[2] + i] = activate(a[base[0] + i], 1.0);
#endif
}
