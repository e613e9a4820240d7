/* A launch being planned: an operation's arguments become device addresses, checked against their
 * buffers, and the launch's extents. The first failure sticks, so that plans read straight down. */
#ifndef CUDA_PLAN_H
#define CUDA_PLAN_H

#include "engine/cuda/launch.h"

struct plan {
    struct launch l;
    struct err *e;
    enum status st;
};

enum access { READ, WRITE };

/* The device address of count * size bytes at v, NULL if v is absent. */
void *plan_bytes(struct plan *p, const char *name, struct view v, size_t count, size_t size,
                 enum access access);
/* The same for count values of 4 bytes. */
void *plan_use(struct plan *p, const char *name, struct view v, size_t count, enum access access);
/* All of the buffer from v on. */
void *plan_rest(struct plan *p, const char *name, struct view v, enum access access);

/* What a kernel is launched with. */
struct plan_kernel {
    enum kernel_id id;
    uint64_t grid_x, grid_y;
    uint32_t block;
};

/* Runs the plan; nothing to do where there are no blocks. args: struct k_* of the kernel. */
enum status plan_run(struct backend *b, struct plan *p, struct plan_kernel k, const void *args,
                     size_t args_bytes);
/* One thread per item. */
enum status plan_run_flat(struct backend *b, struct plan *p, enum kernel_id kernel, uint64_t items,
                          const void *args, size_t args_bytes);

#endif
