/* A block's threads agree on one value: a warp each through shuffles, then across warps through
 * `red`, shared memory of one float per warp. Every thread gets the same bits: all add the warps'
 * values in the same order. Two reductions on the same `red` need a barrier between them.
 *
 * MUTANT_* are deliberate faults that cuda-sim must report (test/mutants.def). */
#ifndef CUDA_REDUCE_H
#define CUDA_REDUCE_H

#include "kernel.h"

#if defined MUTANT_barrier
#define REDUCE_BARRIER()
#elif defined MUTANT_diverge
#define REDUCE_BARRIER() if (threadIdx.x < blockDim.x - 1) __syncthreads()
#else
#define REDUCE_BARRIER() __syncthreads()
#endif

#ifdef MUTANT_mask
#define REDUCE_LANES 0x7fffffffu
#else
#define REDUCE_LANES ALL_LANES
#endif

#if defined MUTANT_shared
#define REDUCE_SLOT (threadIdx.x / WARP + 1)
#else
#define REDUCE_SLOT (threadIdx.x / WARP)
#endif

#if defined MUTANT_unwritten
#define REDUCE_WRITES (threadIdx.x == 0)
#else
#define REDUCE_WRITES (threadIdx.x % WARP == 0)
#endif

DEVICE_FN float k_block_sum(float v, float *red)
{
    for (uint32_t o = WARP / 2; o > 0; o /= 2) v += __shfl_xor_sync(REDUCE_LANES, v, o);
    if (REDUCE_WRITES) red[REDUCE_SLOT] = v;
    REDUCE_BARRIER();
    float sum = 0.0f;
    for (uint32_t i = 0; i < blockDim.x / WARP; i++) sum += red[i];
    return sum;
}

DEVICE_FN float k_block_max(float v, float *red)
{
    v = k_warp_max(v);
    if (threadIdx.x % WARP == 0) red[threadIdx.x / WARP] = v;
    __syncthreads();
    float best = red[0];
    for (uint32_t i = 1; i < blockDim.x / WARP; i++) best = red[i] > best ? red[i] : best;
    return best;
}

#endif
