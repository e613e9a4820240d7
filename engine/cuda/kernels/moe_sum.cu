/* moe_sum: out (n_tokens, n) = the weighted sum over a token's slots, in their order. A thread per
 * output. */
#include "kernel.h"

KERNEL_FN(moe_sum, moe_sum)
{
    uint64_t at = k_flat_index();
    if (at >= (uint64_t)a.n_tokens * a.n) return;
    uint64_t t = at / a.n, i = at % a.n;
    const float *x = a.x + t * a.n_used * a.n + i, *weights = a.weights + t * a.n_used;
    float sum = 0.0f;
    for (uint32_t s = 0; s < a.n_used; s++) sum = K_FMA(weights[s], x[(uint64_t)s * a.n], sum);
    a.out[at] = sum;
}
