/* kv_write: row t of src goes to row cells[t] of the cache, rounded to its type. A thread per
 * element. */
#include "kernel.h"

KERNEL_FN(kv_write, kv_write)
{
    uint64_t i = k_flat_index();
    if (i >= (uint64_t)a.n_tokens * a.row) return;
    uint64_t to = (uint32_t)a.cells[i / a.row] * (uint64_t)a.row + i % a.row;
    if (a.half)
        ((uint16_t *)a.cache)[to] = k_to_half(a.src[i]);
    else
        ((float *)a.cache)[to] = a.src[i];
}
