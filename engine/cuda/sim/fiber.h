/* Switching between stacks of one system thread. */
#ifndef CUDA_SIM_FIBER_H
#define CUDA_SIM_FIBER_H

#include "engine/base/base.h"

/* A suspended point of execution: the stack pointer that resumes it. */
struct fiber_point {
    void *sp;
};

/* Makes a point that runs main() on the stack; main must not return. */
void fiber_make(struct fiber_point *f, void *stack, size_t stack_bytes, void (*run)(void));
/* Suspends here into *from and resumes *to. */
void fiber_swap(struct fiber_point *from, struct fiber_point *to);

/* Memory for stacks: pages appear as they are touched. */
void *fiber_stacks(size_t bytes);
void fiber_stacks_free(void *at, size_t bytes);

#endif
