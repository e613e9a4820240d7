/* layer_norm: out = (x - mean) / sqrt(mean((x - mean)^2) + eps) * w (+ b). A block per row, which it
 * reads three times: the squares are of small differences, not a difference of large squares. out may
 * be x, as in rms_norm. MUTANT_room is a deliberate fault that cuda-sim must report. */
#include "reduce.h"

#ifdef MUTANT_room
#define N_SQUARES 13000
#else
#define N_SQUARES (ROW_BLOCK / WARP)
#endif

KERNEL_FN(layer_norm, norm)
{
    SHARED(float, sums, [ROW_BLOCK / WARP]);
    SHARED(float, squares, [N_SQUARES]);
    const float *x = a.x + (uint64_t)blockIdx.x * a.n;
    uint64_t row = (uint64_t)(blockIdx.x % a.w_rows) * a.n;
    float *out = a.out + (uint64_t)blockIdx.x * a.n;
    float s = 0.0f;
    for (uint32_t i = threadIdx.x; i < a.n; i += blockDim.x) s += x[i];
    float mean = k_block_sum(s, sums) / (float)a.n;
    s = 0.0f;
    for (uint32_t i = threadIdx.x; i < a.n; i += blockDim.x) {
        float d = x[i] - mean;
        s = K_FMA(d, d, s);
    }
    s = k_block_sum(s, squares);
    float r = 1.0f / sqrtf(s / (float)a.n + a.eps);
    for (uint32_t i = threadIdx.x; i < a.n; i += blockDim.x) {
        float v = (x[i] - mean) * r * a.w[row + i];
        out[i] = a.b ? v + a.b[row + i] : v;
    }
}
