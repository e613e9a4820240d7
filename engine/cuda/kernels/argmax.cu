/* argmax: a block per row; the lowest index of the largest value, NaN only where all are (0 then) */
#include "kernel.h"

/* True if (v, i) is the better candidate; index n stands for none. */
DEVICE_FN bool better(float v, uint32_t i, float best, uint32_t best_i, uint32_t n)
{
    if (i >= n) return false;
    return best_i >= n || v > best || (v == best && i < best_i);
}

KERNEL_FN(argmax, argmax)
{
    SHARED(float, values, [ROW_BLOCK / WARP]);
    SHARED(uint32_t, indices, [ROW_BLOCK / WARP]);
    const float *x = a.x + (uint64_t)blockIdx.x * a.n;
    float v = 0.0f;
    uint32_t at = a.n;
    for (uint32_t i = threadIdx.x; i < a.n; i += blockDim.x)
        if (x[i] == x[i] && better(x[i], i, v, at, a.n)) {
            v = x[i];
            at = i;
        }
    for (uint32_t o = WARP / 2; o > 0; o /= 2) {
        float w = __shfl_xor_sync(ALL_LANES, v, o);
        uint32_t w_at = __shfl_xor_sync(ALL_LANES, at, o);
        if (better(w, w_at, v, at, a.n)) {
            v = w;
            at = w_at;
        }
    }
    if (threadIdx.x % WARP == 0) {
        values[threadIdx.x / WARP] = v;
        indices[threadIdx.x / WARP] = at;
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (uint32_t i = 1; i < blockDim.x / WARP; i++)
        if (better(values[i], indices[i], v, at, a.n)) {
            v = values[i];
            at = indices[i];
        }
    a.out[blockIdx.x] = (int32_t)(at < a.n ? at : 0);
}
