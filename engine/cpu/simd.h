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

/* PARTS registers of PART lanes each make the sixteen. */
#if defined(__AVX512F__)

#define CPU_SIMD_NAME "AVX-512F, fused multiply-add"
enum { PARTS = 1, PART = 16 };

struct f32part {
    __m512 v;
};

static inline struct f32part f32part_load(const float *p)
{
    return (struct f32part){_mm512_loadu_ps(p)};
}

static inline void f32part_store(float *p, struct f32part a)
{
    _mm512_storeu_ps(p, a.v);
}

static inline struct f32part f32part_zero(void)
{
    return (struct f32part){_mm512_setzero_ps()};
}

static inline struct f32part f32part_madd(struct f32part a, struct f32part b, struct f32part c)
{
    return (struct f32part){_mm512_fmadd_ps(a.v, b.v, c.v)};
}

#elif defined(__AVX__) && defined(__FMA__)

#define CPU_SIMD_NAME "AVX, fused multiply-add"
enum { PARTS = 2, PART = 8 };

struct f32part {
    __m256 v;
};

static inline struct f32part f32part_load(const float *p)
{
    return (struct f32part){_mm256_loadu_ps(p)};
}

static inline void f32part_store(float *p, struct f32part a)
{
    _mm256_storeu_ps(p, a.v);
}

static inline struct f32part f32part_zero(void)
{
    return (struct f32part){_mm256_setzero_ps()};
}

static inline struct f32part f32part_madd(struct f32part a, struct f32part b, struct f32part c)
{
    return (struct f32part){_mm256_fmadd_ps(a.v, b.v, c.v)};
}

#else

#define CPU_SIMD_NAME "portable C"
enum { PARTS = 4, PART = 4 };

struct f32part {
    float v[PART];
};

static inline struct f32part f32part_load(const float *p)
{
    struct f32part r;
    for (int i = 0; i < PART; i++) r.v[i] = p[i];
    return r;
}

static inline void f32part_store(float *p, struct f32part a)
{
    for (int i = 0; i < PART; i++) p[i] = a.v[i];
}

static inline struct f32part f32part_zero(void)
{
    return (struct f32part){{0}};
}

static inline struct f32part f32part_madd(struct f32part a, struct f32part b, struct f32part c)
{
    for (int i = 0; i < PART; i++) c.v[i] = madd(a.v[i], b.v[i], c.v[i]);
    return c;
}

#endif

struct f32x16 {
    struct f32part part[PARTS];
};

static inline struct f32x16 f32x16_zero(void)
{
    struct f32x16 r;
    for (int i = 0; i < PARTS; i++) r.part[i] = f32part_zero();
    return r;
}

static inline void f32x16_store(float *p, struct f32x16 a)
{
    for (int i = 0; i < PARTS; i++) f32part_store(p + i * PART, a.part[i]);
}

/* Lanes i and i+8, then i and i+4, of the sixteen. */
static inline void f32x16_fold(float t[4], struct f32x16 a)
{
#if defined(__AVX__) && defined(__FMA__)
#if defined(__AVX512F__)
    __m256 lo = _mm512_castps512_ps256(a.part[0].v);
    __m256 hi = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a.part[0].v), 1));
#else
    __m256 lo = a.part[0].v, hi = a.part[1].v;
#endif
    __m256 eight = _mm256_add_ps(lo, hi);
    _mm_storeu_ps(t, _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1)));
#else
    float all[LANES];
    f32x16_store(all, a);
    for (int i = 0; i < 4; i++) t[i] = (all[i] + all[i + 8]) + (all[i + 4] + all[i + 12]);
#endif
}

/* Lanes i and i+8, then i and i+4, i+2, i+1. */
static inline float f32x16_sum(struct f32x16 a)
{
    float t[4];
    f32x16_fold(t, a);
    return (t[0] + t[2]) + (t[1] + t[3]);
}

#endif
