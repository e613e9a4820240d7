/* How a block of a quantized KV cache is scaled, for the code that stores it and for its error. */
#ifndef REF_CACHE_H
#define REF_CACHE_H

#include "reference/ref.h"

enum { REF_CACHE_BLOCK = 32 };

/* The code of x is (x - base) id, rounded; it stands for base plus a multiple of d. */
struct ref_cache_fit {
    float d;    /* the scale, before it is stored as binary16 */
    float id;   /* 1 / d; 0 where d is 0 or 1 / d is not finite */
    float base; /* the smallest value for Q5_1; 0 for other types */
};
/* x: the REF_CACHE_BLOCK values of a block. */
struct ref_cache_fit ref_cache_fit(enum tensor_type t, const float *x);

#endif
