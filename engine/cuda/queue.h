/* Launches on their way to a device. They are collected until somebody needs the results (or there
 * are QUEUE_MAX). A sequence of kernels that comes back, as every token's does, becomes a CUDA
 * graph the second time: later ones replay it, after the arguments that changed are exchanged. The
 * kernels, their blocks and their order are the same either way, so the results are, bit for
 * bit. */
#ifndef CUDA_QUEUE_H
#define CUDA_QUEUE_H

#include "engine/cuda/driver.h"
#include "engine/cuda/launch.h"

enum { QUEUE_MAX = 512, QUEUE_GRAPHS = 8, QUEUE_SEEN = 32 };

/* A launch without its extents. Unused bytes are 0: compared as memory. */
struct queued {
    uint32_t kernel, grid_x, grid_y, block;
    uint64_t args[LAUNCH_ARGS / 8];
};

struct queue_graph {
    cu_exec exec;
    cu_graph graph;
    struct queued *items;
    cu_node *nodes;
    size_t n;
    uint64_t used; /* queue's clock at the last replay */
};

struct queue {
    const struct driver *driver;
    cu_stream stream;
    const cu_function *functions; /* by kernel_id */
    bool each;                    /* wait for every launch: errors name their kernel */
    struct queued items[QUEUE_MAX];
    size_t n;
    struct queue_graph graphs[QUEUE_GRAPHS];
    uint64_t seen[QUEUE_SEEN]; /* hashes of recent sequences */
    uint64_t clock, replays;
    uint32_t first, last; /* kernels of what was submitted last, KERNEL_COUNT = nothing */
};

void queue_open(struct queue *q, const struct driver *d, cu_stream stream,
                const cu_function *functions, bool each);
void queue_close(struct queue *q);
enum status queue_add(struct queue *q, const struct launch *l, struct err *e);
/* Hands everything to the device. */
enum status queue_submit(struct queue *q, struct err *e);
/* Submits, and waits until the device is done. */
enum status queue_wait(struct queue *q, struct err *e);

#endif
