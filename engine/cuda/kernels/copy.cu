/* copy: rows of groups of n values from one layout of strides to another. A thread per value.
 *
 * MUTANT_rest is a deliberate fault that cuda-sim must report. */
#include "kernel.h"

#ifdef MUTANT_rest
#define IN_RANGE(i) true
#else
#define IN_RANGE(i) ((i) < (uint64_t)a.rows * a.groups * a.n)
#endif

KERNEL_FN(copy, copy)
{
    uint64_t at = k_flat_index();
    if (!IN_RANGE(at)) return;
    uint64_t i = at % a.n, line = at / a.n, g = line % a.groups, r = line / a.groups;
    a.out[r * a.out_row + g * a.out_group + i] = a.x[r * a.x_row + g * a.x_group + i];
}
