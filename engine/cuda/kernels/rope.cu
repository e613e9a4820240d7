/* rope: (a, b) -> (a cos - b sin, a sin + b cos), in place, of dimensions first to first + n_dims of a
 * head; a thread per pair. Angles come as a table from the host: no sin or cos here.
 *
 * MUTANT_index is a deliberate fault that cuda-sim must report. */
#include "kernel.h"

#ifdef MUTANT_index
#define TABLE_ROW 1
#else
#define TABLE_ROW 0
#endif

KERNEL_FN(rope, rope)
{
    uint32_t n_pairs = a.n_dims / 2;
    uint64_t i = k_flat_index();
    if (i >= (uint64_t)a.n_tokens * a.n_heads * n_pairs) return;
    uint32_t p = (uint32_t)(i % n_pairs);
    uint64_t head = i / n_pairs; /* of all tokens */
    const float *cs = a.table + (head / a.n_heads * n_pairs + p + TABLE_ROW) * 2;
    float *x = a.x + head * a.head_dim + a.first;
    uint32_t first = a.neox ? p : 2 * p, second = a.neox ? p + n_pairs : 2 * p + 1;
    float u = x[first], v = x[second];
    x[first] = u * cs[0] - v * cs[1];
    x[second] = u * cs[1] + v * cs[0];
}
