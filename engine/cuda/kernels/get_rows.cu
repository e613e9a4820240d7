/* get_rows: out row t = row ids[t] of w, decoded bit for bit. A thread per 8 elements. */
#include "load.h"

#define GET_ROWS(c)                                                                                \
    KERNEL_FN(get_rows_##c, get_rows)                                                              \
    {                                                                                              \
        uint32_t n_groups = (a.n_in + 7) / 8;                                                      \
        uint64_t at = k_flat_index();                                                              \
        if (at >= (uint64_t)a.n * n_groups) return;                                                \
        uint64_t t = at / n_groups;                                                                \
        uint32_t i = (uint32_t)(at % n_groups) * 8;                                                \
        float v[8];                                                                                \
        load8_##c(a.w + (uint32_t)a.ids[t] * a.row_bytes, i, a.n_in, v);                           \
        float *out = a.out + t * a.n_in + i;                                                       \
        for (uint32_t j = 0; j < 8; j++)                                                           \
            if (i + j < a.n_in) out[j] = v[j];                                                     \
    }

#define TYPE(e, id, name, c, elems, bytes, use, act) IF_DECODED(use)(GET_ROWS(c))
#include "spec/types.def"
#undef TYPE
