/* What the CUDA backend and cuda-sim have in common: buffers, and operations planned as launches
 * of kernels. ops.c turns an operation into a launch; whoever opened the device runs it. */
#ifndef CUDA_LAUNCH_H
#define CUDA_LAUNCH_H

#include "engine/backend.h"
#include "engine/cuda/kernels/args.h"

enum kernel_id {
#define KERNEL(name, file, args, barriers) KERNEL_##name,
#include "engine/cuda/kernels/kernels.def"
#undef KERNEL
    KERNEL_COUNT
};

struct kernel_info {
    const char *name, *file;
    bool barriers; /* SYNC */
};
extern const struct kernel_info kernel_table[KERNEL_COUNT];

struct dbuf {
    uint64_t base; /* device address; cuda-sim: of host memory */
    size_t bytes;
    bool read_only; /* weights */
    void *shadow;   /* cuda-sim with checks: what is known of each byte */
};

/* Bytes that an argument of a launch may touch. */
struct extent {
    const char *name; /* of the argument: "out" */
    struct dbuf *buf;
    uint64_t addr;
    size_t bytes;
    bool write;
};

enum { LAUNCH_ARGS = 120, LAUNCH_EXTENTS = 8 };

struct launch {
    enum kernel_id kernel;
    uint32_t grid_x, grid_y, block;
    uint32_t args_bytes;
    uint32_t n_extents;
    uint64_t args[LAUNCH_ARGS / 8]; /* struct k_* */
    struct extent extents[LAUNCH_EXTENTS];
};

/* First member of struct backend in both backends. */
struct cuda_base {
    struct backend_base base;
    enum status (*launch)(struct backend *b, const struct launch *l, struct err *e);
    uint64_t dispatches;
    enum kernel_id last;
    bool general; /* variant "general": only the kernels that serve every type */
    bool mma;     /* matmul on tensor cores where there is a kernel */
};

/* Passes a failure on. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum status try_st = (call);                                                               \
        if (try_st != ST_OK) return try_st;                                                        \
    } while (0)

extern const struct backend_ops cuda_backend, cuda_sim_backend;

/* Fills in the choices; mma: the device has TF32 tensor cores. list may be NULL. */
void cuda_choose(struct cuda_base *c, const char *list, bool mma);

void cuda_stats(struct backend *b, struct backend_stats *out);

/* The op table's slots, for the initialiser of a struct backend_ops. */
#define OP(name, args, types, tol)                                                                 \
    enum status cuda_op_##name(struct backend *b, const struct op_##args *a, struct err *e);
#include "spec/ops.def"
#undef OP

#endif
