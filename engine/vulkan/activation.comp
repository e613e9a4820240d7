/* silu(a), or gelu(a) in its tanh form (GELU), times b (GATED). Both are a / (1 + exp(-z)): z = a,
 * and for gelu z = 2 sqrt(2/pi) (a + 0.044715 a^3), since (1 + tanh(z/2)) / 2 = 1 / (1 + exp(-z)).
 * exp(z) magnifies a relative error of z by |z|, so gelu's z is kept as a sum of two floats. */
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

/* a times b with a's logistic factor, for z < -40, where 1 + exp(z) is 1: the power of two comes
 * last, so that a product that ends normal does not pass through subnormals. */
float tail(float x, float z, float low, float y)
{
    int n;
    const float m = exp_parts(max(z, -208.0), low, n);
    const int n3 = n / 3;
    precise float r = x * m * power2(n3) * y * power2(n3) * power2(n - 2 * n3);
    return r;
}

float activate(float x, float y)
{
    if (floatBitsToUint(x) == 0xff800000u) return NOT_A_NUMBER; /* -inf * 0 */
    float low = 0.0, z = x;
#ifdef GELU
    if (x < -20.0) return x * 0.0 * y;
    if (x > 20.0) return x * y;
    z = gelu_exponent(x, low);
#endif
    if (z < -40.0) return tail(x, z, low, y);
    int n;
    const float m = exp_parts(max(-z, -100.0), -low, n);
    precise float e = m * power2(max(n, -126));
    precise float r = x / (1.0 + e) * y;
    return r;
}

void main()
{
    const uint i = global_index();
    if (i >= n_in) return;
#ifdef GATED
    result[base[2] + i] = activate(a[base[0] + i], b[base[1] + i]);
#else
    result[base[2] + i] = activate(a[base[0] + i], 1.0);
#endif
}
