/* What every kernel stands on: the spelling that nvcc and a C compiler (cuda-sim) agree on, and
 * arithmetic that gives the same bits on both.
 *
 *   KERNEL_FN(name, args) { ... a.n ... }    a kernel whose only parameter is struct k_<args> a
 *   SHARED(type, name, [64][33]);            shared memory of a block
 *   K_FMA(a, b, c)                           a*b + c with one rounding on the device; in sums only
 */
#ifndef CUDA_KERNEL_H
#define CUDA_KERNEL_H

#ifdef __CUDACC__
#define KERNEL_FN(name, args) extern "C" __global__ void name(const struct k_##args a)
#define SHARED(type, name, dims) __shared__ type name dims
#define DEVICE_FN __device__ static __forceinline__
#else
#include "cuda_sim.h"
#endif

#include "args.h"
#include "decode/prelude.h"

#if defined __CUDA_ARCH__ || defined __FMA__
#define K_FMA(a, b, c) fmaf(a, b, c)
#else
#define K_FMA(a, b, c) ((a) * (b) + (c)) /* fmaf would be a slow library call */
#endif

#define ALL_LANES 0xffffffffu
#define K_INFINITY __uint_as_float(0x7f800000u)

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

DEVICE_FN float k_exp(float x) { return k_exp_sum(x, 0.0f); }

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

DEVICE_FN float k_silu(float x) { return k_logistic_times(x, x, 0.0f); }

/* tanh form: 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), 2u = c x (1 + a x^2), c = 2 sqrt(2/pi),
 * a = 0.044715. 2u reaches 100 where the result still counts, so it is kept in two floats. */
DEVICE_FN float k_gelu(float x)
{
    if (x > 12.0f) return x;
    if (x < -12.0f) return -0.0f; /* below the smallest number */
    const float c_hi = 1.59576917f, c_lo = -4.53406805e-8f; /* c */
    const float ca_hi = 0.0713548139f, ca_lo = 2.39883247e-9f; /* c a */
    float h = x * x, l = fmaf(x, x, -h);
    float q = ca_hi * h;
    float q_lo = fmaf(ca_hi, h, -q) + fmaf(ca_hi, l, ca_lo * h);
    float s = c_hi + q, b = s - c_hi;
    float s_lo = (c_hi - (s - b)) + (q - b) + (c_lo + q_lo);
    float z = x * s;
    return k_logistic_times(x, z, fmaf(x, s, -z) + x * s_lo);
}

/* binary32 to binary16, round to nearest even; overflow to infinity, NaN stays NaN. */
DEVICE_FN uint16_t k_to_half(float x)
{
    uint32_t u = __float_as_uint(x), sign = u >> 16 & 0x8000u, m = u & 0x7fffffffu;
    if (m > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (m >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and above */
    if (m < 0x33000001u) return (uint16_t)sign;              /* 2^-25 and below */
    uint32_t keep, cut;
    if (m >= 0x38800000u) { /* normal: rebias, drop 13 bits */
        keep = (m - 0x38000000u) >> 13;
        cut = (m & 0x1fffu) << 19;
    } else { /* subnormal: value = keep * 2^-24 */
        uint32_t shift = 126u - (m >> 23), full = (m & 0x7fffffu) | 0x800000u;
        keep = full >> shift;
        cut = full << (32u - shift);
    }
    keep += cut > 0x80000000u || (cut == 0x80000000u && (keep & 1u));
    return (uint16_t)(sign | keep);
}

/* binary16 to binary32, exact; on the device by its own instruction. */
#ifdef __CUDA_ARCH__
DEVICE_FN float k_from_half(uint16_t h)
{
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}
#else
DEVICE_FN float k_from_half(uint16_t h) { return dec_half(h); }
#endif

/* d += A B for a warp: A 16 x 8 and B 8 x 8 of TF32 (the upper 19 bits of a float), d of f32. Lane
 * 4 g + t holds
 *   a[0..3]: rows g, g+8, g, g+8 in columns t, t, t+4, t+4     b[0..1]: rows t, t+4 in column g
 *   d[0..3]: rows g, g, g+8, g+8 in columns 2t, 2t+1, 2t, 2t+1
 * Compute capability 8.0; the host does not launch its kernels on older devices. */
#ifdef __CUDACC__
DEVICE_FN void k_mma(float *d, const uint32_t *a, const uint32_t *b)
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    __trap();
#endif
}
#else
#define k_mma(d, a, b) sim_mma(d, a, b, __LINE__)
#endif

/* Element i of a vector of f32 or f16. */
DEVICE_FN float k_load(const void *p, uint32_t half, uint64_t i)
{
    return half ? k_from_half(((const uint16_t *)p)[i]) : ((const float *)p)[i];
}

/* The global index of a thread that works alone. */
DEVICE_FN uint64_t k_flat_index(void)
{
    return (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

DEVICE_FN float k_warp_sum(float v)
{
    for (uint32_t o = WARP / 2; o > 0; o /= 2) v += __shfl_xor_sync(ALL_LANES, v, o);
    return v;
}

/* NaN never wins. */
DEVICE_FN float k_warp_max(float v)
{
    for (uint32_t o = WARP / 2; o > 0; o /= 2) {
        float w = __shfl_xor_sync(ALL_LANES, v, o);
        v = w > v ? w : v;
    }
    return v;
}

#endif
