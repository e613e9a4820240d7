/* softmax: a block per row; -inf gives 0, a row of -inf only gives zeros. A sink is one
 * more score, which is not in out. out may be x: each thread rereads only what it wrote itself. */
#include "functions.h"
#include "reduce.h"

KERNEL_FN(softmax, softmax)
{
    SHARED(float, peaks, [ROW_BLOCK / WARP]);
    SHARED(float, sums, [ROW_BLOCK / WARP]);
    const float *x = a.x + (uint64_t)blockIdx.x * a.n;
    float *out = a.out + (uint64_t)blockIdx.x * a.n;
    float m = -K_INFINITY, s = 0.0f;
    for (uint32_t i = threadIdx.x; i < a.n; i += blockDim.x) m = x[i] > m ? x[i] : m;
    m = k_block_max(m, peaks);
    float sink = a.sinks ? a.sinks[blockIdx.x % a.n_sinks] : -K_INFINITY;
    m = sink > m ? sink : m;
    if (m == -K_INFINITY) m = 0.0f; /* exp(-inf - 0) = 0 for all, and NaN stays */
    for (uint32_t i = threadIdx.x; i < a.n; i += blockDim.x) {
        float e = k_exp(x[i] - m);
        out[i] = e;
        s += e;
    }
    s = k_block_sum(s, sums) + k_exp(sink - m);
    if (s == 0.0f) s = 1.0f;
    for (uint32_t i = threadIdx.x; i < a.n; i += blockDim.x) out[i] = out[i] / s;
}
