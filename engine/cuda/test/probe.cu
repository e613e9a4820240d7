/* A long way to a + b, through every word of cuda_sim.h that no kernel uses: shuffles up, down and
 * by lane, votes, atomics. Any wrong answer of theirs makes the sum NaN. */
#include "kernel.h"

KERNEL_FN(add, binary)
{
    SHARED(uint32_t, counts, [4]);
    SHARED(float, total, [1]);
    uint32_t lane = threadIdx.x % WARP, i = blockIdx.x * blockDim.x + threadIdx.x;
    uint32_t wrong = 0;
    if (threadIdx.x < 4) counts[threadIdx.x] = 0;
    if (threadIdx.x == 0) total[0] = 0.0f;
    __syncthreads();
    wrong += __shfl_sync(ALL_LANES, lane, 7) != 7;
    wrong += __shfl_up_sync(ALL_LANES, lane, 1) != (lane == 0 ? 0 : lane - 1);
    wrong += __shfl_down_sync(ALL_LANES, lane, 2) != (lane < 30 ? lane + 2 : lane);
    wrong += __shfl_xor_sync(ALL_LANES, (int32_t)lane, 5) != (int32_t)(lane ^ 5);
    wrong += __ballot_sync(ALL_LANES, lane % 2) != 0xaaaaaaaau;
    wrong += __any_sync(ALL_LANES, lane > 31) || !__any_sync(ALL_LANES, lane == 3);
    wrong += __all_sync(ALL_LANES, lane > 0) || !__all_sync(ALL_LANES, lane < 32);
    if (lane < 16) wrong += __shfl_xor_sync(0xffffu, lane, 8) != (lane ^ 8);
    atomicAdd(&counts[0], 1u);
    atomicMax(&counts[1], threadIdx.x);
    atomicAdd(&total[0], 0.5f);
    __syncthreads();
    wrong += counts[0] != blockDim.x || counts[1] != blockDim.x - 1;
    wrong += total[0] != 0.5f * (float)blockDim.x;
    if (i < a.n) a.out[i] = wrong ? K_INFINITY - K_INFINITY : a.a[i] + a.b[i];
}
