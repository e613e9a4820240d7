/* scale: out[i] = factor * x[i], a thread per element.
 *
 * MUTANT_tail is a deliberate fault that cuda-sim must report. */
#include "kernel.h"

#ifdef MUTANT_tail
#define IN_RANGE(i) true
#else
#define IN_RANGE(i) ((i) < a.n)
#endif

KERNEL_FN(scale, scale)
{
    uint64_t i = k_flat_index();
    if (IN_RANGE(i)) a.out[i] = a.factor * a.x[i];
}
