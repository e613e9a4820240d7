/* attention: softmax(scores) v in one pass. A block per token, head and slice of the value's
 * dimensions; its warps take tiles of 32 cells in turn, each with an online softmax of its own
 * (running peak, sum and weighted values, rescaled when the peak grows), and are merged at the end.
 * In a tile a lane owns a cell for the score and every 32nd dimension for the values. Hidden cells
 * are not read. attention makes slices of 256 dimensions, attention_wide of 512; where a value has
 * more than one, each makes the scores again.
 *
 * Bytes: n_cells * (head_dim + value_dim) * bytes of a value per kv head and token, read once per
 * query head; heads that share a kv head find it in L2. Shared: 9 or 17 KiB of a block.
 *
 * MUTANT_merge is a deliberate fault that cuda-sim must report. */
#include "attention.h"

#ifdef MUTANT_merge
#define MERGE_BARRIER()
#else
#define MERGE_BARRIER() __syncthreads()
#endif

/* What a warp knows of its cells so far; the same in every lane. */
struct running {
    float peak, sum;
};

/* Adds the cells first .. first+31. acc: of dimension from + lane + 32 i, i < n; p: 32 floats of
 * shared memory of this warp. */
DEVICE_FN void add_tile(const struct k_attention *a, struct running *r, float *acc, uint32_t n,
                        float *p, uint32_t token, uint32_t head, uint32_t first, uint32_t from)
{
    uint32_t lane = threadIdx.x % WARP, c = first + lane;
    const float *q = a->q + ((uint64_t)token * a->n_heads + head) * a->head_dim;
    uint32_t visible = c < a->n_cells ? attn_sees(a, token, c) : 0;
    uint32_t seen = __ballot_sync(ALL_LANES, visible);
    if (!seen) return;
    float s = visible ? attn_score(a, q, attn_at(a, c, head, a->head_dim)) : -K_INFINITY;
    float peak = k_warp_max(s > r->peak ? s : r->peak);
    float base = peak == -K_INFINITY ? 0.0f : peak;
    float e = visible ? k_exp(s - base) : 0.0f, grow = k_exp(r->peak - base);
    r->peak = peak;
    r->sum = r->sum * grow + k_warp_sum(e);
    __syncwarp(ALL_LANES); /* the last tile's p has been read */
    p[lane] = e;
    __syncwarp(ALL_LANES);
    for (uint32_t i = 0; i < n; i++) acc[i] *= grow;
    for (uint32_t j = 0; j < WARP; j++) {
        if (!(seen >> j & 1u)) continue;
        uint64_t v = attn_at(a, first + j, head, a->value_dim);
        for (uint32_t i = 0, d = from + lane; i < n; i++, d += WARP)
            if (d < a->value_dim) acc[i] = K_FMA(p[j], cache_load1(a->v, a->v_type, v + d), acc[i]);
    }
}

/* The peak of all warps and of the head's sink. */
DEVICE_FN float merge_peaks(const struct k_attention *a, const float *peaks, uint32_t head)
{
    float peak = a->sinks ? a->sinks[head] : -K_INFINITY;
    for (uint32_t w = 0; w < blockDim.x / WARP; w++) peak = peaks[w] > peak ? peaks[w] : peak;
    return peak == -K_INFINITY ? 0.0f : peak;
}

#define ATTENTION(name, slice)                                                                     \
    KERNEL_FN(name, attention)                                                                     \
    {                                                                                              \
        SHARED(float, p, [ATTN_MAX_WARPS][WARP]);                                                  \
        SHARED(float, parts, [ATTN_MAX_WARPS][slice]);                                             \
        SHARED(float, peaks, [ATTN_MAX_WARPS]);                                                    \
        SHARED(float, sums, [ATTN_MAX_WARPS]);                                                     \
        uint32_t n_slices = (a.value_dim + slice - 1) / slice, n_warps = blockDim.x / WARP;        \
        uint32_t t = blockIdx.x / n_slices, from = blockIdx.x % n_slices * slice, h = blockIdx.y;  \
        uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;                             \
        uint32_t end = a.value_dim - from < slice ? a.value_dim - from : slice;                    \
        struct running r;                                                                          \
        float acc[slice / WARP];                                                                   \
        r.peak = -K_INFINITY;                                                                      \
        r.sum = 0.0f;                                                                              \
        for (uint32_t i = 0; i < slice / WARP; i++) acc[i] = 0.0f;                                 \
        for (uint32_t c = warp * WARP; c < a.n_cells; c += n_warps * WARP)                         \
            add_tile(&a, &r, acc, slice / WARP, p[warp], t, h, c, from);                           \
        for (uint32_t i = 0; i < slice / WARP; i++) parts[warp][lane + WARP * i] = acc[i];         \
        if (lane == 0) {                                                                           \
            peaks[warp] = r.peak;                                                                  \
            sums[warp] = r.sum;                                                                    \
        }                                                                                          \
        MERGE_BARRIER();                                                                           \
        float base = merge_peaks(&a, peaks, h);                                                    \
        float sum = a.sinks ? k_exp(a.sinks[h] - base) : 0.0f;                                     \
        for (uint32_t w = 0; w < n_warps; w++) sum += sums[w] * k_exp(peaks[w] - base);            \
        float *out = a.out + ((uint64_t)t * a.n_heads + h) * a.value_dim + from;                   \
        for (uint32_t d = threadIdx.x; d < end; d += blockDim.x) {                                 \
            float v = 0.0f;                                                                        \
            for (uint32_t w = 0; w < n_warps; w++)                                                 \
                v = K_FMA(parts[w][d], k_exp(peaks[w] - base), v);                                 \
            out[d] = sum != 0.0f ? v / sum : 0.0f; /* a query that sees nothing gives zeros */     \
        }                                                                                          \
    }

ATTENTION(attention, ATTN_SLICE)
ATTENTION(attention_wide, ATTN_WIDE)
