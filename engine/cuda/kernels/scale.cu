/* scale, softcap: out[i] = f(factor, x[i]), a thread per element; scale_rows: a factor for each row.
 *
 * MUTANT_tail is a deliberate fault that cuda-sim must report. */
#include "functions.h"

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

KERNEL_FN(softcap, scale)
{
    uint64_t i = k_flat_index();
    if (i < a.n) a.out[i] = k_softcap(a.x[i], a.factor);
}

KERNEL_FN(scale_rows, scale_rows)
{
    uint64_t i = k_flat_index();
    if (i < (uint64_t)a.rows * a.n) a.out[i] = a.x[i] * a.factors[i / a.n];
}
