/* silu, gelu, gelu_erf, sigmoid: out[i] = f(x[i]), a thread per element. */
#include "functions.h"

#define UNARY(name)                                                                                \
    KERNEL_FN(name, unary)                                                                         \
    {                                                                                              \
        uint64_t i = k_flat_index();                                                               \
        if (i < a.n) a.out[i] = k_##name(a.x[i]);                                                  \
    }

UNARY(silu)
UNARY(gelu)
UNARY(gelu_erf)
UNARY(sigmoid)
