/* CUDA's words for a C compiler: what the kernels need to run on the processor.
 * A block's threads are fibers of one system thread (block.c), which has one area for what a block
 * shares. Compiled several times, SIM_BUILD names the result: fast, check (with -fsanitize=thread:
 * check.c sees every access), and one per mutant. */
#ifndef CUDA_SIM_H
#define CUDA_SIM_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- kernels: NAME becomes BUILD_NAME, called with a pointer to its argument ---------- */

#define SIM_PASTE_2(a, b) a##_##b
#define SIM_PASTE(a, b)   SIM_PASTE_2(a, b)
#define SIM_NAME(name)    SIM_PASTE(SIM_BUILD, name)
#define SIM_BODY(name)    SIM_PASTE(name, body)

#define KERNEL_FN(name, args)                                                                      \
    static void SIM_BODY(name)(const struct k_##args a);                                           \
    void SIM_NAME(name)(const void *p);                                                            \
    void SIM_NAME(name)(const void *p)                                                             \
    {                                                                                              \
        SIM_BODY(name)(*(const struct k_##args *)p);                                               \
    }                                                                                              \
    static void SIM_BODY(name)(const struct k_##args a)

#define DEVICE_FN    static inline
#define DEVICE_TABLE static const

/* Shared memory: the block's bytes for a declaration, the same for all its threads. Their address
 * in the source tells declarations apart. */
#define SHARED(type, name, dims)                                                                   \
    static char SIM_PASTE(name, declared);                                                         \
    type(*SIM_PASTE(name, array)) dims =                                                           \
        sim_shared(&SIM_PASTE(name, declared), #name, sizeof(type dims));                          \
    __typeof__(&(*SIM_PASTE(name, array))[0]) name = *SIM_PASTE(name, array)
void *sim_shared(const void *declared, const char *name, size_t bytes);

/* ---- who is running -------------------------------------------------------------------- */

/* CUDA's vectors, and the one load that each is on a device; a compiler may load their parts. */
typedef struct {
    float x, y, z, w;
} float4;
typedef struct {
    uint32_t x, y, z, w;
} uint4;
#ifdef __SANITIZE_THREAD__ /* this build is checked */
void sim_check_aligned(const void *at, size_t n);
#define SIM_ALIGNED(at, n) sim_check_aligned(at, n)
#else
#define SIM_ALIGNED(at, n)
#endif

static inline float4 k_float4(const void *at)
{
    SIM_ALIGNED(at, sizeof(float4));
    return *(const float4 *)at;
}

static inline uint4 k_uint4(const void *at)
{
    SIM_ALIGNED(at, sizeof(uint4));
    return *(const uint4 *)at;
}

struct sim_dim {
    uint32_t x, y, z;
};
struct sim_place {
    struct sim_dim thread, block, threads, blocks;
};
extern _Thread_local struct sim_place sim_place;
#define threadIdx (sim_place.thread)
#define blockIdx  (sim_place.block)
#define blockDim  (sim_place.threads)
#define gridDim   (sim_place.blocks)

/* ---- waiting for each other ------------------------------------------------------------- */

enum sim_collective { SIM_BARRIER, SIM_SYNCWARP, SIM_SHUFFLE, SIM_BALLOT, SIM_MMA };
/* Waits for the block (SIM_BARRIER), or for the lanes of the mask. SHUFFLE: the value of lane
 * `source`; BALLOT: bit l is set where lane l gave a value other than 0. */
uint32_t sim_wait(enum sim_collective kind, uint32_t mask, uint32_t value, uint32_t source,
                  int line);

/* The matrix instruction of k_mma in kernel.h. */
void sim_mma(float *d, const uint32_t *a, const uint32_t *b, int line);

static inline float __uint_as_float(uint32_t u)
{
    union {
        uint32_t u;
        float f;
    } v;
    v.u = u;
    return v.f;
}

static inline uint32_t __float_as_uint(float f)
{
    union {
        uint32_t u;
        float f;
    } v;
    v.f = f;
    return v.u;
}

static inline int __popc(uint32_t u)
{
    return __builtin_popcount(u);
}

/* Byte i of the result is that of x (0-3) or y (4-7) which nibble i of the selector names. */
static inline uint32_t __byte_perm(uint32_t x, uint32_t y, uint32_t selector)
{
    uint64_t bytes = (uint64_t)y << 32 | x;
    uint32_t out = 0;
    for (uint32_t i = 0; i < 4; i++)
        out |= (uint32_t)(bytes >> 8 * (selector >> 4 * i & 7u) & 255u) << 8 * i;
    return out;
}

static inline uint32_t sim_shuffle_u(uint32_t mask, uint32_t v, uint32_t source, int line)
{
    return sim_wait(SIM_SHUFFLE, mask, v, source, line);
}

static inline int32_t sim_shuffle_i(uint32_t mask, int32_t v, uint32_t source, int line)
{
    return (int32_t)sim_wait(SIM_SHUFFLE, mask, (uint32_t)v, source, line);
}

static inline float sim_shuffle_f(uint32_t mask, float v, uint32_t source, int line)
{
    return __uint_as_float(sim_wait(SIM_SHUFFLE, mask, __float_as_uint(v), source, line));
}

#define SIM_LANE (threadIdx.x % 32u)
/* A lane past the warp's end gives the caller its own value. */
static inline uint32_t sim_lane_or_self(uint32_t lane)
{
    return lane < 32u ? lane : SIM_LANE;
}

#define SIM_SHUFFLE_OF(mask, v, source)                                                            \
    _Generic((v), float                                                                            \
             : sim_shuffle_f, int32_t                                                              \
             : sim_shuffle_i, uint32_t                                                             \
             : sim_shuffle_u)(mask, v, source, __LINE__)
#define __shfl_sync(mask, v, lane)   SIM_SHUFFLE_OF(mask, v, (uint32_t)(lane) % 32u)
#define __shfl_xor_sync(mask, v, o)  SIM_SHUFFLE_OF(mask, v, sim_lane_or_self(SIM_LANE ^ (o)))
#define __shfl_down_sync(mask, v, o) SIM_SHUFFLE_OF(mask, v, sim_lane_or_self(SIM_LANE + (o)))
#define __shfl_up_sync(mask, v, o)   SIM_SHUFFLE_OF(mask, v, sim_lane_or_self(SIM_LANE - (o)))
#define __ballot_sync(mask, p)       sim_wait(SIM_BALLOT, mask, (p) != 0, 0, __LINE__)
#define __any_sync(mask, p)          (__ballot_sync(mask, p) != 0)
#define __all_sync(mask, p)          (__ballot_sync(mask, p) == (mask))
#define __syncwarp(mask)             ((void)sim_wait(SIM_SYNCWARP, mask, 0, 0, __LINE__))
#define __syncthreads()              ((void)sim_wait(SIM_BARRIER, 0, 0, 0, __LINE__))

/* ---- atomics: the old value; blocks run on several system threads -------------------- */

uint32_t sim_atomic_add(uint32_t *at, uint32_t v);
uint32_t sim_atomic_max(uint32_t *at, uint32_t v);
float sim_atomic_add_f(float *at, float v);
#define atomicAdd(at, v)                                                                           \
    _Generic((at), float * : sim_atomic_add_f, uint32_t * : sim_atomic_add)(at, v)
#define atomicMax(at, v) sim_atomic_max(at, v)

#endif
