/* How a block of a quantized KV cache is scaled, for the code that stores it and for its error. */
#ifndef REF_CACHE_H
#define REF_CACHE_H

#include "reference/ref.h"

enum { REF_CACHE_BLOCK = 32 };

/* Codes are roundings of (x - base) id; a code stands for a multiple of d, above base. */
struct ref_cache_fit {
    float d, id, base;
};
struct ref_cache_fit ref_cache_fit(enum tensor_type t, const float *x);

#endif
