/* attention: softmax(scale q k) v in one pass. A block per token and head; its warps take tiles of
 * 32 cells in turn, each with an online softmax of its own (running peak, sum and weighted values,
 * rescaled when the peak grows), and are merged at the end. In a tile a lane owns a cell for the
 * score and every 32nd dimension for the values. Hidden cells are not read.
 *
 * Bytes: n_cells * 2 * head_dim * bytes of a value per kv head and token, read once per query head;
 * heads that share a kv head find it in L2. Shared: 8 KiB + 2 KiB of a block. */
#include "kernel.h"

#define DIMS_PER_LANE (HEAD_MAX / WARP)

/* What a warp knows of its cells so far. */
struct running {
    float peak, sum;            /* the same in every lane */
    float acc[DIMS_PER_LANE];   /* dimension lane + 32 i */
};

DEVICE_FN float cell_score(const struct k_attention *a, const float *q, uint64_t k)
{
    float s = 0.0f;
    if (a->k_half) {
        const uint16_t *row = (const uint16_t *)a->k + k;
        for (uint32_t d = 0; d < a->head_dim; d++) s = K_FMA(q[d], k_from_half(row[d]), s);
    } else {
        const float *row = (const float *)a->k + k;
        for (uint32_t d = 0; d < a->head_dim; d++) s = K_FMA(q[d], row[d], s);
    }
    return s * a->scale;
}

/* Adds the cells first .. first+31. p: 32 floats of shared memory of this warp. */
DEVICE_FN void add_tile(const struct k_attention *a, struct running *r, const float *q, float *p,
                        uint32_t first, int32_t pos, uint32_t kv_head)
{
    uint32_t lane = threadIdx.x % WARP, c = first + lane;
    uint64_t stride = (uint64_t)a->n_kv_heads * a->head_dim;
    uint64_t head = (uint64_t)kv_head * a->head_dim;
    int32_t at = c < a->n_cells ? a->cell_pos[c] : -1;
    uint32_t visible = at >= 0 && at <= pos;
    uint32_t seen = __ballot_sync(ALL_LANES, visible);
    if (!seen) return;
    float s = visible ? cell_score(a, q, c * stride + head) : -K_INFINITY;
    float peak = k_warp_max(s > r->peak ? s : r->peak);
    float base = peak == -K_INFINITY ? 0.0f : peak;
    float e = visible ? k_exp(s - base) : 0.0f, grow = k_exp(r->peak - base);
    r->peak = peak;
    r->sum = r->sum * grow + k_warp_sum(e);
    __syncwarp(ALL_LANES); /* the last tile's p has been read */
    p[lane] = e;
    __syncwarp(ALL_LANES);
    for (uint32_t i = 0; i < DIMS_PER_LANE; i++) r->acc[i] *= grow;
    for (uint32_t j = 0; j < WARP; j++) {
        if (!(seen >> j & 1u)) continue;
        uint64_t v = (first + j) * stride + head;
        for (uint32_t i = 0, d = lane; i < DIMS_PER_LANE; i++, d += WARP)
            if (d < a->head_dim) r->acc[i] = K_FMA(p[j], k_load(a->v, a->v_half, v + d), r->acc[i]);
    }
}

KERNEL_FN(attention, attention)
{
    SHARED(float, q, [HEAD_MAX]);
    SHARED(float, p, [ATTN_MAX_WARPS][WARP]);
    SHARED(float, acc, [ATTN_MAX_WARPS][HEAD_MAX]);
    SHARED(float, peaks, [ATTN_MAX_WARPS]);
    SHARED(float, sums, [ATTN_MAX_WARPS]);
    uint32_t t = blockIdx.x, h = blockIdx.y, lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    uint32_t n_warps = blockDim.x / WARP;
    uint64_t row = ((uint64_t)t * a.n_heads + h) * a.head_dim;
    for (uint32_t d = threadIdx.x; d < a.head_dim; d += blockDim.x) q[d] = a.q[row + d];
    __syncthreads();

    struct running r;
    r.peak = -K_INFINITY;
    r.sum = 0.0f;
    for (uint32_t i = 0; i < DIMS_PER_LANE; i++) r.acc[i] = 0.0f;
    for (uint32_t first = warp * WARP; first < a.n_cells; first += n_warps * WARP)
        add_tile(&a, &r, q, p[warp], first, a.pos[t], h / (a.n_heads / a.n_kv_heads));

    for (uint32_t i = 0, d = lane; d < a.head_dim; i++, d += WARP) acc[warp][d] = r.acc[i];
    if (lane == 0) {
        peaks[warp] = r.peak;
        sums[warp] = r.sum;
    }
    __syncthreads();
    float peak = -K_INFINITY, sum = 0.0f;
    for (uint32_t w = 0; w < n_warps; w++) peak = peaks[w] > peak ? peaks[w] : peak;
    float base = peak == -K_INFINITY ? 0.0f : peak;
    for (uint32_t w = 0; w < n_warps; w++) sum += sums[w] * k_exp(peaks[w] - base);
    for (uint32_t d = threadIdx.x; d < a.head_dim; d += blockDim.x) {
        float v = 0.0f;
        for (uint32_t w = 0; w < n_warps; w++) v = K_FMA(acc[w][d], k_exp(peaks[w] - base), v);
        a.out[row + d] = sum != 0.0f ? v / sum : 0.0f; /* a query that sees nothing gives zeros */
    }
}
