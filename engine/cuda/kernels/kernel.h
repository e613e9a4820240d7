/* What every kernel stands on: the spelling that nvcc and a C compiler (cuda-sim) agree on, and
 * arithmetic that gives the same bits on both.
 *
 *   KERNEL_FN(name, args) { ... a.n ... }    a kernel whose only parameter is struct k_<args> a
 *   SHARED(type, name, [64][33]);            shared memory of a block
 *   K_FMA(a, b, c)                           a*b + c with one rounding on the device; in sums only
 *   k_float4(p), k_uint4(p)                  16 bytes at once, p a multiple of 16
 */
#ifndef CUDA_KERNEL_H
#define CUDA_KERNEL_H

#ifdef __CUDACC__
#define KERNEL_FN(name, args) extern "C" __global__ void name(const struct k_##args a)
#define SHARED(type, name, dims) __shared__ type name dims
#define DEVICE_FN __device__ static __forceinline__
DEVICE_FN float4 k_float4(const void *at) { return *(const float4 *)at; }
DEVICE_FN uint4 k_uint4(const void *at) { return *(const uint4 *)at; }
#else
#include "cuda_sim.h"
#endif

#include "args.h"
#include "decode/prelude.h"

#if defined __CUDA_ARCH__ || defined __FMA__
#define K_FMA(a, b, c) fmaf(a, b, c)
#else
#define K_FMA(a, b, c) ((a) * (b) + (c)) /* fmaf would be a slow library call */
#endif

#define ALL_LANES 0xffffffffu
#define K_INFINITY __uint_as_float(0x7f800000u)

/* binary16 to binary32, exact; on the device by its own instruction. */
#ifdef __CUDA_ARCH__
DEVICE_FN float k_from_half(uint16_t h)
{
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}
#else
DEVICE_FN float k_from_half(uint16_t h) { return dec_half(h); }
#endif

/* d += A B for a warp: A 16 x 8 and B 8 x 8 of TF32 (the upper 19 bits of a float), d of f32. Lane
 * 4 g + t holds
 *   a[0..3]: rows g, g+8, g, g+8 in columns t, t, t+4, t+4     b[0..1]: rows t, t+4 in column g
 *   d[0..3]: rows g, g, g+8, g+8 in columns 2t, 2t+1, 2t, 2t+1
 * Compute capability 8.0; the host does not launch its kernels on older devices. */
#ifdef __CUDACC__
DEVICE_FN void k_mma(float *d, const uint32_t *a, const uint32_t *b)
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    __trap();
#endif
}
#else
#define k_mma(d, a, b) sim_mma(d, a, b, __LINE__)
#endif

/* The global index of a thread that works alone. */
DEVICE_FN uint64_t k_flat_index(void)
{
    return (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

#ifdef MUTANT_pair
#define NEXT_ROW 1
#else
#define NEXT_ROW 0
#endif

/* The product of one pair of a token and a slot: its expert's weights, its row of x. */
DEVICE_FN struct k_matmul k_product_of(const struct k_matmul_id *a, uint32_t pair)
{
    uint64_t row = (uint64_t)(uint32_t)a->ids[pair] * a->n_out;
    struct k_matmul p;
    p.w = a->w + row * a->row_bytes;
    p.x = a->x + (uint64_t)(pair / a->x_pairs + NEXT_ROW) * a->n_in;
    p.bias = a->bias ? a->bias + row : a->bias;
    p.out = a->out + (uint64_t)pair * a->n_out;
    p.row_bytes = a->row_bytes;
    p.n_in = a->n_in;
    p.n_out = a->n_out;
    p.n_cols = 1;
    return p;
}

DEVICE_FN float k_warp_sum(float v)
{
    for (uint32_t o = WARP / 2; o > 0; o /= 2) v += __shfl_xor_sync(ALL_LANES, v, o);
    return v;
}

/* NaN never wins. */
DEVICE_FN float k_warp_max(float v)
{
    for (uint32_t o = WARP / 2; o > 0; o /= 2) {
        float w = __shfl_xor_sync(ALL_LANES, v, o);
        v = w > v ? w : v;
    }
    return v;
}

#endif
