/* add, silu_mul, gelu_mul, gelu_erf_mul, swiglu_oai: out[i] = f(a[i], b[i]), a thread per element. */
#include "functions.h"

#define BINARY(name, f)                                                                            \
    KERNEL_FN(name, binary)                                                                        \
    {                                                                                              \
        uint64_t i = k_flat_index();                                                               \
        if (i < a.n) a.out[i] = f(a.a[i], a.b[i]);                                                 \
    }

#define ADD(x, y)          ((x) + (y))
#define SILU_MUL(x, y)     (k_silu(x) * (y))
#define GELU_MUL(x, y)     (k_gelu(x) * (y))
#define GELU_ERF_MUL(x, y) (k_gelu_erf(x) * (y))

BINARY(add, ADD)
BINARY(silu_mul, SILU_MUL)
BINARY(gelu_mul, GELU_MUL)
BINARY(gelu_erf_mul, GELU_ERF_MUL)
BINARY(swiglu_oai, k_swiglu_oai)
