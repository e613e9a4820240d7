/* cuda-sim's insides: the running thread (thread.c), checking every access of the
 * instrumented kernels (check.c), running a launch block by block (block.c), the table of compiled
 * kernels (kernels.c). */
#ifndef CUDA_SIM_SIM_H
#define CUDA_SIM_SIM_H

#include "engine/cuda/launch.h"
#include "engine/cuda/sim/cuda_sim.h"
#include "engine/cuda/sim/fiber.h"

/* A kernel as compiled for the processor. */
typedef void sim_kernel(const void *args);

/* The same kernels compiled in one way: "fast", "check", or "mutant-NAME". */
struct sim_build {
    const char *name;
    bool checks; /* accesses are seen by check.c */
    sim_kernel *kernels[KERNEL_COUNT];
};
/* NULL if it is not in this program. */
const struct sim_build *sim_build_by_name(const char *name);
sim_kernel *sim_kernel_of(const struct sim_build *b, enum kernel_id k);

/* What went wrong first, by kind; the worst kind is told. */
enum sim_fault {
    SIM_BOUNDS,    /* an access outside of the argument's bytes */
    SIM_ALIGNMENT, /* one load or store of n bytes at an address that is not a multiple of n */
    SIM_DIVERGED,  /* a barrier that not all threads reach */
    SIM_MASK,      /* a shuffle or vote whose mask does not fit the lanes that take part */
    SIM_RACE,      /* two threads at one place between two barriers, one of them writing */
    SIM_UNWRITTEN, /* a read of memory that nobody has written */
    SIM_FAULTS
};

enum {
    SIM_MAX_THREADS = 1024,
    SIM_STACK = 64 * 1024,
    SIM_STACK_SHIFT = 320,
    SIM_SHARED = 48 * 1024, /* of a block: what a kernel may declare on any device */
    SIM_ARRAYS = 8,         /* in it, each between bytes that nothing may touch */
    SIM_FENCE = 256
};

/* A thread of the running block. */
enum sim_state { SIM_RUNS, SIM_AT_WARP, SIM_AT_BARRIER, SIM_ENDED };

struct sim_thread {
    struct fiber_point point;
    enum sim_state wait;
    enum sim_collective kind;
    int line;
    uint32_t mask, value, source;
    float *d; /* of SIM_MMA */
    const uint32_t *a, *b;
};

struct sim_checker;

struct sim_array {
    const void *declared;
    uint8_t *at;
};

/* One system thread's share of a launch. */
struct sim_worker {
    const struct launch *launch;
    sim_kernel *kernel;
    struct sim_checker *checker; /* NULL: no checks */
    struct sim_thread *threads;  /* SIM_MAX_THREADS */
    uint8_t *stacks;
    uint8_t *shared;
    struct sim_array arrays[SIM_ARRAYS]; /* of this launch */
    uint32_t n_arrays;
    size_t shared_used;
    struct fiber_point scheduler;
    struct sim_thread *current; /* NULL: threads run without fibers */
    uint64_t block;             /* flat index */
    bool stop;                  /* this launch is to end */
    uint64_t fault_block[SIM_FAULTS];
    char faults[SIM_FAULTS][320]; /* "" = none */
};
/* ---- thread.c --------------------------------------------------------------------------- */

extern _Thread_local struct sim_worker *sim_worker;

/* The running thread waits or has ended: on with the next lane of its warp that can go on, which
 * the scheduler would resume next anyhow, or back to the scheduler. */
void sim_leave(struct sim_worker *w);
/* Records a fault of the running thread, unless there is one of its kind. */
void sim_report(struct sim_worker *w, enum sim_fault kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Gives up the running thread; returns only where there are no fibers. */
void sim_abandon(struct sim_worker *w);

/* ---- block.c ---------------------------------------------------------------------------- */

enum status sim_worker_open(struct sim_worker *w, struct err *e);
void sim_worker_close(struct sim_worker *w);
/* Runs blocks begin .. end-1 of the launch. Faults are left in the worker. */
void sim_run_blocks(struct sim_worker *w, uint64_t begin, uint64_t end);

/* ---- check.c ---------------------------------------------------------------------------- */

enum status sim_checker_open(struct sim_checker **out, struct err *e);
void sim_checker_close(struct sim_checker *c);
void sim_check_launch(struct sim_checker *c, struct sim_worker *w);
void sim_check_block(struct sim_checker *c);
/* The lanes of a warp have met (SIM_SYNCWARP), or all warps of the block. */
void sim_check_warp_met(struct sim_checker *c, uint32_t warp);
void sim_check_block_met(struct sim_checker *c);
void sim_check_access(const void *at, size_t n, bool write);
/* n bytes are loaded or stored by one instruction. Reported only: the access itself is checked
 * too. */
void sim_check_aligned(const void *at, size_t n);
void sim_check_atomic(struct sim_checker *c, const void *at); /* 4 bytes */
/* A kernel of this launch has declared its next array. False when out of memory. */
bool sim_check_shared(struct sim_checker *c, const char *name, const void *at, size_t bytes);
/* What is known of the bytes of a buffer; NULL when out of memory. */
void *sim_shadow_open(size_t bytes);
void sim_shadow_close(void *shadow);
/* The host has written these bytes. */
void sim_shadow_written(void *shadow, size_t off, size_t bytes);

#endif
