/* matmul_id: out (pairs, n_out) = W[ids[pair]] x (+ bias), for many pairs of a token and a slot. A
 * block per expert and 64 rows of its weights: it looks through all ids, gathers up to 64 pairs that
 * are its expert's, and makes their tile as matmul.cu does, until there are no more. An expert that
 * nobody chose reads no weights; one that few chose pays for 8 columns at least. The order of pairs
 * is theirs, so results do not depend on the scheduling.
 *
 * MUTANT_gather and MUTANT_expert are deliberate faults that cuda-sim must report. */
#include "tile.h"

#ifdef MUTANT_gather
#define GATHER_BARRIER()
#else
#define GATHER_BARRIER() __syncthreads()
#endif

#ifdef MUTANT_expert
#define EXPERT (blockIdx.y + 1)
#else
#define EXPERT blockIdx.y
#endif

/* pairs = those of the expert from *next on, at most TILE_N; pairs[TILE_N] is the first that has no
 * room. Returns how many there are, and moves *next past them; both are the same in all threads. */
DEVICE_FN uint32_t gather(const struct k_matmul_id *a, uint32_t expert, uint32_t *next,
                          uint32_t *pairs, uint32_t *votes)
{
    uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, count = 0;
    __syncthreads(); /* the last tile's pairs have been used */
    while (*next < a->n_pairs && count < TILE_N) {
        uint32_t i = *next + threadIdx.x, before = count;
        uint32_t mine = i < a->n_pairs && (uint32_t)a->ids[i] == expert;
        uint32_t vote = __ballot_sync(ALL_LANES, mine);
        if (lane == 0) votes[warp] = vote;
        GATHER_BARRIER();
        for (uint32_t w = 0; w < TILE_BLOCK / WARP; w++) {
            uint32_t n = (uint32_t)__popc(votes[w]);
            before += w < warp ? n : 0;
            count += n;
        }
        before += (uint32_t)__popc(vote & ((1u << lane) - 1));
        if (mine && before <= TILE_N) pairs[before] = i;
        __syncthreads();
        *next = count > TILE_N ? pairs[TILE_N] : *next + TILE_BLOCK;
    }
    return count < TILE_N ? count : TILE_N;
}

DEVICE_FN void tile_store(const struct k_matmul_id *a, uint32_t expert, uint32_t row, uint32_t n,
                          const uint32_t *pairs, uint32_t n_cols, float (*sum)[4])
{
    const float *bias = a->bias ? a->bias + (uint64_t)expert * a->n_out : a->bias;
    for (uint32_t j = n; j < n + 4 && j < n_cols; j++) {
        float *out = a->out + (uint64_t)pairs[j] * a->n_out;
        for (uint32_t i = 0; i < 4 && row + i < a->n_out; i++)
            out[row + i] = bias ? sum[j - n][i] + bias[row + i] : sum[j - n][i];
    }
}

#define MATMUL_ID(c)                                                                               \
    KERNEL_FN(matmul_id_##c, matmul_id)                                                            \
    {                                                                                              \
        SHARED(float, w, [TILE_K][TILE_M + PAD]);                                                  \
        SHARED(float, x, [TILE_K][TILE_N + PAD]);                                                  \
        SHARED(uint32_t, pairs, [TILE_N + 1]);                                                     \
        SHARED(uint32_t, votes, [TILE_BLOCK / WARP]);                                              \
        uint32_t t = threadIdx.x, line = t / 4, part = t % 4 * 8, m = t % 16 * 4, n = t / 16 * 4;  \
        uint32_t row = blockIdx.x * TILE_M, next = 0, n_cols;                                      \
        const uint8_t *expert = a.w + (uint64_t)EXPERT * a.n_out * a.row_bytes;                    \
        while ((n_cols = gather(&a, blockIdx.y, &next, pairs, votes)) > 0) {                       \
            float sum[4][4], v[8];                                                                 \
            for (uint32_t i = 0; i < 16; i++) sum[i / 4][i % 4] = 0.0f;                            \
            for (uint32_t k = 0; k < a.n_in; k += TILE_K) {                                        \
                for (uint32_t i = 0; i < 8; i++) v[i] = 0.0f;                                      \
                if (row + line < a.n_out && k + part < a.n_in)                                     \
                    load8_##c(expert + (row + line) * a.row_bytes, k + part, a.n_in, v);           \
                for (uint32_t i = 0; i < 8; i++) w[part + i][line] = v[i];                         \
                for (uint32_t i = 0; i < 8; i++) v[i] = 0.0f;                                      \
                if (line < n_cols)                                                                 \
                    load8_values(a.x + (uint64_t)(pairs[line] / a.x_pairs) * a.n_in, k + part,     \
                                 a.n_in, v);                                                       \
                for (uint32_t i = 0; i < 8; i++) x[part + i][line] = v[i];                         \
                __syncthreads();                                                                   \
                if (n < n_cols) tile_multiply(w, x, m, n, sum);                                    \
                __syncthreads();                                                                   \
            }                                                                                      \
            tile_store(&a, blockIdx.y, row + m, n, pairs, n_cols, sum);                            \
        }                                                                                          \
    }

#define TYPE(e, id, name, c, elems, bytes, use, act) IF_WEIGHT(use)(MATMUL_ID(c))
#include "spec/types.def"
#undef TYPE
