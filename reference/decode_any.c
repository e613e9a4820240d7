/* Picks the decoder of a type: the rows of types.def, expanded. */
#include "reference/ref.h"

typedef void decode_fn(const uint8_t *blocks, size_t n, float *out);

static decode_fn *const decoders[TYPE_ID_END] = {
#define TYPE(e, id, name, c, elems, bytes, use, act) IF_DECODED(use)([id] = ref_decode_##c, )
#include "spec/types.def"
#undef TYPE
};

bool ref_decode(enum tensor_type t, const uint8_t *blocks, size_t n, float *out)
{
    if ((unsigned)t >= TYPE_ID_END || !decoders[t]) return false;
    decoders[t](blocks, n, out);
    return true;
}
