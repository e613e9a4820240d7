/* matvec of one column, for the types that models are mostly made of; matvec_id_fast for one column
 * of each pair of a token and a slot, as in matvec.cu. A block of four warps makes
 * two rows; a lane takes a chunk of 4 to 16 weights of each row by wide loads, next to the part of x
 * that meets them, which it loads once for both rows. Chunks of neighbouring lanes are neighbours in
 * memory. The values are those of engine/decode, bit for bit: every product is exact.
 *
 * On paper (H100 SXM: 3.35 TB/s over 132 multiprocessors at 1.75 GHz = 14.5 bytes per clock each;
 * 60 % of that = 8.7). A multiprocessor issues 128 lanes of instructions per clock, and 128 bytes
 * from L1. Instructions are those of the inner loop in PTX for sm_90 less its moves; registers as ptxas
 * tells; blocks: how many of 128 threads those leave room for.
 *         bytes/weight  instructions/weight  bytes/clock  registers  blocks  KiB in flight
 *   F16   2             4.3                  60           34         12      48
 *   Q8_0  1.0625        5.8                  23           32         16      32
 *   Q4_0  0.5625        5.4                  13           40         12      24
 *   Q4_K  0.5625        7.8                  9.2          48         10      20
 *   Q6_K  0.8203        7.9                  13           80         6       18
 * so instructions leave room above 8.7 for each, Q4_K the least, and what is in flight covers a
 * latency of 600 clocks (8.7 KiB). Not measured yet.
 *
 * MUTANT_align is a deliberate fault that cuda-sim must report. */
#include "kernel.h"

#define NIBBLES 0x0f0f0f0fu /* the low ones of four bytes */

/* A small unsigned number to float, less an offset, without the slow conversion: the bits of
 * 2^23 + q. */
DEVICE_FN float small(uint32_t q, float offset)
{
    return __uint_as_float(0x4b000000u | q) - (8388608.0f + offset);
}

/* The same for byte j of a word, which one instruction puts in its place. */
DEVICE_FN float code_of(uint32_t codes, uint32_t j, float offset)
{
    return __uint_as_float(__byte_perm(codes, 0x4b000000u, 0x7440u | j)) - (8388608.0f + offset);
}

DEVICE_FN uint32_t load_u16(const uint8_t *p) { return *(const uint16_t *)(const void *)p; }

DEVICE_FN uint32_t load_u32(const uint8_t *p) { return *(const uint32_t *)(const void *)p; }

/* Four bytes at an even address. */
#ifdef MUTANT_align
#define load_2u16 load_u32
#else
DEVICE_FN uint32_t load_2u16(const uint8_t *p) { return load_u16(p) | load_u16(p + 2) << 16; }
#endif

DEVICE_FN void load_x4(const float *x, float *v)
{
    float4 f = k_float4(x);
    v[0] = f.x;
    v[1] = f.y;
    v[2] = f.z;
    v[3] = f.w;
}

DEVICE_FN void load_x8(const float *x, float *v)
{
    load_x4(x, v);
    load_x4(x + 4, v + 4);
}

/* Per type: x_TYPE gathers the values of x that meet chunk i of a row; dot_TYPE adds the chunk's
 * products to a sum. */

DEVICE_FN void x_f32(const float *x, uint32_t i, float *v) { load_x4(x + 4 * i, v); }

DEVICE_FN float dot_f32(const uint8_t *row, uint32_t i, const float *v, float sum)
{
    float w[4];
    load_x4((const float *)(const void *)row + 4 * (size_t)i, w);
    for (uint32_t j = 0; j < 4; j++) sum = K_FMA(w[j], v[j], sum);
    return sum;
}

DEVICE_FN void x_f16(const float *x, uint32_t i, float *v) { load_x8(x + 8 * i, v); }

/* Two weights of 16 bits in a word, low half first. */
DEVICE_FN float dot_f16_pair(uint32_t u, const float *v, float sum)
{
    sum = K_FMA(k_from_half((uint16_t)(u & 0xffffu)), v[0], sum);
    return K_FMA(k_from_half((uint16_t)(u >> 16)), v[1], sum);
}

DEVICE_FN float dot_f16(const uint8_t *row, uint32_t i, const float *v, float sum)
{
    uint4 u = k_uint4(row + 16 * (size_t)i);
    sum = dot_f16_pair(u.x, v, sum);
    sum = dot_f16_pair(u.y, v + 2, sum);
    sum = dot_f16_pair(u.z, v + 4, sum);
    return dot_f16_pair(u.w, v + 6, sum);
}

DEVICE_FN void x_bf16(const float *x, uint32_t i, float *v) { load_x8(x + 8 * i, v); }

DEVICE_FN float dot_bf16_pair(uint32_t u, const float *v, float sum)
{
    sum = K_FMA(__uint_as_float(u << 16), v[0], sum);
    return K_FMA(__uint_as_float(u & 0xffff0000u), v[1], sum);
}

DEVICE_FN float dot_bf16(const uint8_t *row, uint32_t i, const float *v, float sum)
{
    uint4 u = k_uint4(row + 16 * (size_t)i);
    sum = dot_bf16_pair(u.x, v, sum);
    sum = dot_bf16_pair(u.y, v + 2, sum);
    sum = dot_bf16_pair(u.z, v + 4, sum);
    return dot_bf16_pair(u.w, v + 6, sum);
}

/* Q8_0: chunk i = codes 8 (i%4) .. +7 of block i/4. */
DEVICE_FN void x_q8_0(const float *x, uint32_t i, float *v) { load_x8(x + 8 * i, v); }

DEVICE_FN float dot_q8_0(const uint8_t *row, uint32_t i, const float *v, float sum)
{
    const uint8_t *b = row + (size_t)(i / 4) * 34;
    float d = k_from_half((uint16_t)load_u16(b));
    for (uint32_t h = 0; h < 2; h++) {
        uint32_t q = load_2u16(b + 2 + 8 * (i % 4) + 4 * h) ^ 0x80808080u;
        for (uint32_t j = 0; j < 4; j++)
            sum = K_FMA(code_of(q, j, 128.0f) * d, v[4 * h + j], sum);
    }
    return sum;
}

/* Q4_0: chunk i = bytes 8 (i%2) .. +7 of block i/2: 8 weights from there on, and those 16 later. */
DEVICE_FN void x_q4_0(const float *x, uint32_t i, float *v)
{
    load_x8(x + 32 * (i / 2) + 8 * (i % 2), v);
    load_x8(x + 32 * (i / 2) + 8 * (i % 2) + 16, v + 8);
}

DEVICE_FN float dot_q4_0(const uint8_t *row, uint32_t i, const float *v, float sum)
{
    const uint8_t *b = row + (size_t)(i / 2) * 18;
    float d = k_from_half((uint16_t)load_u16(b));
    for (uint32_t h = 0; h < 2; h++) {
        uint32_t q = load_2u16(b + 2 + 8 * (i % 2) + 4 * h);
        uint32_t lo = q & NIBBLES, hi = q >> 4 & NIBBLES;
        for (uint32_t j = 0; j < 4; j++) {
            sum = K_FMA(code_of(lo, j, 8.0f) * d, v[4 * h + j], sum);
            sum = K_FMA(code_of(hi, j, 8.0f) * d, v[8 + 4 * h + j], sum);
        }
    }
    return sum;
}

/* Q4_K: chunk i = bytes 8m .. 8m+7 of run k of block i/16, k = i%16/4, m = i%4: 8 weights of
 * sub-block 2k and 8 of 2k+1. */
DEVICE_FN void x_q4_k(const float *x, uint32_t i, float *v)
{
    const float *at = x + 256 * (i / 16) + 64 * (i % 16 / 4) + 8 * (i % 4);
    load_x8(at, v);
    load_x8(at + 32, v + 8);
}

/* Scales and minima of sub-blocks 2k and 2k+1 are made in the two low bytes of a word each, without
 * branches: lanes of a warp differ in k. */
DEVICE_FN float dot_q4_k(const uint8_t *row, uint32_t i, const float *v, float sum)
{
    const uint8_t *b = row + (size_t)(i / 16) * 144;
    uint32_t k = i % 16 / 4, at = 16 * (k % 2), head = load_u32(b);
    uint32_t s0 = load_u32(b + 4) >> at, s1 = load_u32(b + 8) >> at, s2 = load_u32(b + 12) >> at;
    uint32_t sc = k < 2 ? s0 & 0x3f3fu : (s2 & 0x0f0fu) | (s0 >> 2 & 0x3030u);
    uint32_t mn = k < 2 ? s1 & 0x3f3fu : (s2 >> 4 & 0x0f0fu) | (s1 >> 2 & 0x3030u);
    float d = k_from_half((uint16_t)(head & 0xffffu)), dmin = k_from_half((uint16_t)(head >> 16));
    float scale[2], min[2];
    for (uint32_t h = 0; h < 2; h++) {
        scale[h] = d * code_of(sc, h, 0.0f);
        min[h] = dmin * code_of(mn, h, 0.0f);
    }
    for (uint32_t h = 0; h < 2; h++) {
        uint32_t q = load_u32(b + 16 + 32 * k + 8 * (i % 4) + 4 * h);
        uint32_t q_lo = q & NIBBLES, q_hi = q >> 4 & NIBBLES;
        for (uint32_t j = 0; j < 4; j++) {
            /* The product is exact: one rounding or two are the same. */
            float lo = K_FMA(scale[0], code_of(q_lo, j, 0.0f), -min[0]);
            float hi = K_FMA(scale[1], code_of(q_hi, j, 0.0f), -min[1]);
            sum = K_FMA(lo, v[4 * h + j], sum);
            sum = K_FMA(hi, v[8 + 4 * h + j], sum);
        }
    }
    return sum;
}

/* Q6_K: chunk i = columns 4m .. 4m+3 of half n of block i/16, n = i%16/8, m = i%8: 4 weights in each
 * of the half's four runs of 32. */
DEVICE_FN void x_q6_k(const float *x, uint32_t i, float *v)
{
    const float *at = x + 256 * (i / 16) + 128 * (i % 16 / 8) + 4 * (i % 8);
    for (uint32_t k = 0; k < 4; k++) load_x4(at + 32 * k, v + 4 * k);
}

DEVICE_FN float dot_q6_k(const uint8_t *row, uint32_t i, const float *v, float sum)
{
    const uint8_t *b = row + (size_t)(i / 16) * 210;
    uint32_t n = i % 16 / 8, m = i % 8;
    uint32_t low[2], high = load_2u16(b + 128 + 32 * n + 4 * m);
    float d = k_from_half((uint16_t)load_u16(b + 208));
    low[0] = load_2u16(b + 64 * n + 4 * m);
    low[1] = load_2u16(b + 64 * n + 32 + 4 * m);
    for (uint32_t k = 0; k < 4; k++) {
        float scale = d * small(b[192 + 8 * n + 2 * k + m / 4] ^ 0x80u, 128.0f);
        uint32_t q = (low[k % 2] >> 4 * (k / 2) & NIBBLES) | (high >> 2 * k & 0x03030303u) << 4;
        for (uint32_t j = 0; j < 4; j++)
            sum = K_FMA(scale * code_of(q, j, 32.0f), v[4 * k + j], sum);
    }
    return sum;
}

/* Adds the lanes' sums; the first threads store a row each. */
DEVICE_FN void store_rows(const struct k_matmul *a, const float *sum, float (*part)[FAST_WARPS])
{
    uint32_t t = threadIdx.x, row = blockIdx.x * FAST_ROWS;
    for (uint32_t r = 0; r < FAST_ROWS; r++) {
        float s = k_warp_sum(sum[r]);
        if (t % WARP == 0) part[r][t / WARP] = s;
    }
    __syncthreads();
    if (t >= FAST_ROWS || row + t >= a->n_out) return;
    float s = 0.0f;
    for (uint32_t i = 0; i < FAST_WARPS; i++) s += part[t][i];
    a->out[row + t] = a->bias ? s + a->bias[row + t] : s;
}

/* A last row without a partner is made twice and stored once. */
#define MATVEC_FAST(c, chunk)                                                                      \
    DEVICE_FN void rows_##c(const struct k_matmul *a, float (*part)[FAST_WARPS])                   \
    {                                                                                              \
        const uint8_t *row[FAST_ROWS];                                                             \
        float sum[FAST_ROWS], v[chunk];                                                            \
        for (uint32_t r = 0; r < FAST_ROWS; r++) {                                                 \
            uint32_t at = blockIdx.x * FAST_ROWS + r;                                              \
            row[r] = a->w + (at < a->n_out ? at : a->n_out - 1) * a->row_bytes;                    \
            sum[r] = 0.0f;                                                                         \
        }                                                                                          \
        for (uint32_t i = threadIdx.x; i < a->n_in / chunk; i += FAST_WARPS * WARP) {              \
            x_##c(a->x, i, v);                                                                     \
            for (uint32_t r = 0; r < FAST_ROWS; r++) sum[r] = dot_##c(row[r], i, v, sum[r]);       \
        }                                                                                          \
        store_rows(a, sum, part);                                                                  \
    }                                                                                              \
    KERNEL_FN(matvec_fast_##c, matmul)                                                             \
    {                                                                                              \
        SHARED(float, part, [FAST_ROWS][FAST_WARPS]);                                              \
        rows_##c(&a, part);                                                                        \
    }                                                                                              \
    KERNEL_FN(matvec_id_fast_##c, matmul_id)                                                       \
    {                                                                                              \
        SHARED(float, part, [FAST_ROWS][FAST_WARPS]);                                              \
        struct k_matmul product = k_product_of(&a, blockIdx.y);                                    \
        rows_##c(&product, part);                                                                  \
    }

#define FAST(e, c, chunk, align) MATVEC_FAST(c, chunk)
#include "fast.def"
#undef FAST
