/* rms_norm: out = x / sqrt(mean(x^2) + eps) * w. A block per row. out may be x: after the barrier
 * each thread touches only elements that it read itself. */
#include "reduce.h"

KERNEL_FN(rms_norm, norm)
{
    SHARED(float, red, [ROW_BLOCK / WARP]);
    const float *x = a.x + (uint64_t)blockIdx.x * a.n;
    const float *w = a.w + (uint64_t)(blockIdx.x % a.w_rows) * a.n;
    float *out = a.out + (uint64_t)blockIdx.x * a.n;
    float s = 0.0f;
    for (uint32_t i = threadIdx.x; i < a.n; i += blockDim.x) s = K_FMA(x[i], x[i], s);
    s = k_block_sum(s, red);
    float r = 1.0f / sqrtf(s / (float)a.n + a.eps);
    for (uint32_t i = threadIdx.x; i < a.n; i += blockDim.x) out[i] = x[i] * r * w[i];
}
