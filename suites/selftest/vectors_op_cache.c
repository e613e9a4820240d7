/* Golden op vectors of what a KV cache holds: every byte is due. */
#include "selftest/vectors_op.h"

#include <stdio.h>

void opvec_cache(struct vec *v)
{
    char key[128], type_name[16];
    struct gguf_str text = {0};
    struct err e = {0};
    snprintf(key, sizeof key, "%s.type", v->name);
    if (!test_ok(v->t, gguf_get_str(v->g, key, &text, &e), &e)) return;
    snprintf(type_name, sizeof type_name, "%.*s", (int)text.len, text.data);
    const struct type_spec *type = type_by_name(type_name);
    if (!test_check(v->t, type != NULL, "the golden file names a type %s", type_name)) return;
    const size_t n = (size_t)vec_dims(v, "x")[0], bytes = type_bytes(type, n);
    const float *x = vec_f32(v, "x", n);
    const int32_t *want = vec_i32(v, "bytes", bytes);
    uint8_t *got = test_alloc(v->t, bytes + 1, 1);
    if (!v->ok || !got) return;
    if (!test_check(v->t, ref_cache_encode(type->id, x, n, got), "no cache of %s", type->name))
        return;
    v->t->result.total += bytes;
    for (size_t i = 0; i < bytes; i++) {
        if (got[i] == want[i]) continue;
        if (v->t->result.bad++ == 0) v->t->result.first_bad = i;
        test_fail(v->t, "byte %zu of block %zu is %u, %d is due", i % type->block_bytes,
                  i / type->block_bytes, (unsigned)got[i], want[i]);
    }
}
