/* Sixteen f32 lanes. The dot products of this backend are sixteen sums, lane k%16 taking element
 * k, folded in one fixed order, so that a result does not depend on the number of threads, of
 * columns, or on the tile it was computed in. */
#ifndef CPU_SIMD_H
#define CPU_SIMD_H

#include <math.h>
#include <stddef.h>

#if defined(__AVX512F__) || (defined(__AVX__) && defined(__FMA__))
#include <immintrin.h>
#endif

enum { LANES = 16 };

/* a * b + c, fused where the processor does that in one instruction. */
static inline float madd(float a, float b, float c)
{
#ifdef __FMA__
    return fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

#if defined(__AVX512F__)

#define CPU_SIMD_NAME "AVX-512F, fused multiply-add"

struct f32x16 {
    __m512 v;
};

static inline struct f32x16 f32x16_load(const float *p)
{
    return (struct f32x16){_mm512_loadu_ps(p)};
}

static inline void f32x16_store(float *p, struct f32x16 a)
{
    _mm512_storeu_ps(p, a.v);
}

static inline struct f32x16 f32x16_zero(void)
{
    return (struct f32x16){_mm512_setzero_ps()};
}

static inline struct f32x16 f32x16_madd(struct f32x16 a, struct f32x16 b, struct f32x16 c)
{
    return (struct f32x16){_mm512_fmadd_ps(a.v, b.v, c.v)};
}

#elif defined(__AVX__) && defined(__FMA__)

#define CPU_SIMD_NAME "AVX, fused multiply-add"

struct f32x16 {
    __m256 lo, hi;
};

static inline struct f32x16 f32x16_load(const float *p)
{
    return (struct f32x16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

static inline void f32x16_store(float *p, struct f32x16 a)
{
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
}

static inline struct f32x16 f32x16_zero(void)
{
    return (struct f32x16){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

static inline struct f32x16 f32x16_madd(struct f32x16 a, struct f32x16 b, struct f32x16 c)
{
    return (struct f32x16){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

#else

#define CPU_SIMD_NAME "portable C"

struct f32x16 {
    float v[LANES];
};

static inline struct f32x16 f32x16_load(const float *p)
{
    struct f32x16 r;
    for (int i = 0; i < LANES; i++) r.v[i] = p[i];
    return r;
}

static inline void f32x16_store(float *p, struct f32x16 a)
{
    for (int i = 0; i < LANES; i++) p[i] = a.v[i];
}

static inline struct f32x16 f32x16_zero(void)
{
    return (struct f32x16){{0}};
}

static inline struct f32x16 f32x16_madd(struct f32x16 a, struct f32x16 b, struct f32x16 c)
{
    for (int i = 0; i < LANES; i++) c.v[i] = madd(a.v[i], b.v[i], c.v[i]);
    return c;
}

#endif

/* The first n < 16 values, zeros after them. */
static inline struct f32x16 f32x16_load_some(const float *p, size_t n)
{
    float t[LANES] = {0};
    for (size_t i = 0; i < n; i++) t[i] = p[i];
    return f32x16_load(t);
}

/* Lanes i and i+8, then i and i+4, i+2, i+1. */
static inline float f32x16_sum(struct f32x16 a)
{
    float t[LANES];
    f32x16_store(t, a);
    for (int i = 0; i < 8; i++) t[i] += t[i + 8];
    for (int i = 0; i < 4; i++) t[i] += t[i + 4];
    return (t[0] + t[2]) + (t[1] + t[3]);
}

#endif
