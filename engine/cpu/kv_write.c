/* kv_write: rows into cells of the KV cache, in the cache's type. Threads split the row, not the
 * tokens: if two tokens name one cell, the later one stays, as in order. */
#include "engine/cpu/cpu.h"
#include "engine/decode/cache_encode.h"

#include <string.h>

struct job {
    const float *src;
    const int32_t *cells;
    uint8_t *cache;
    size_t n_tokens, row, row_bytes, group_bytes; /* a group is 32 values */
    void (*encode)(const float *x, uint8_t *out);
};

/* begin is a multiple of 32; what is left of a row of a plain type is encoded into a copy. */
static void write_rows(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    (void)thread;
    for (size_t t = 0; t < j->n_tokens; t++) {
        const float *src = j->src + t * j->row;
        uint8_t *cell = j->cache + (size_t)j->cells[t] * j->row_bytes;
        for (size_t i = begin; i < end; i += 32) {
            uint8_t *out = cell + i / 32 * j->group_bytes;
            if (end - i >= 32) {
                j->encode(src + i, out);
            } else {
                float rest[32] = {0};
                uint8_t bytes[32 * sizeof(float)];
                memcpy(rest, src + i, (end - i) * sizeof *rest);
                j->encode(rest, bytes);
                memcpy(out, bytes, (end - i) * (j->group_bytes / 32));
            }
        }
    }
}

static void encode32_f32(const float *x, uint8_t *out)
{
    memcpy(out, x, 32 * sizeof *x);
}

enum status cpu_kv_write(struct backend *b, const struct op_kv_write *a, struct err *e)
{
    static void (*const encoders[TYPE_ID_END])(const float *x, uint8_t *out) = {
        [TYPE_F32] = encode32_f32,      [TYPE_F16] = encode32_f16,   [TYPE_BF16] = encode32_bf16,
        [TYPE_Q8_0] = encode32_q8_0,    [TYPE_Q4_0] = encode32_q4_0, [TYPE_Q5_1] = encode32_q5_1,
        [TYPE_IQ4_NL] = encode32_iq4_nl};
    struct cpu *c = cpu_of(b);
    if ((unsigned)a->type >= TYPE_ID_END || !encoders[a->type]) {
        return fail(e, ST_UNSUPPORTED, "cpu: kv_write: type id %u is none of a cache",
                    (unsigned)a->type);
    }
    const struct type_spec *type = type_by_id(a->type);
    if (a->row % type->block_elems != 0) {
        return fail(e, ST_USAGE, "cpu: kv_write: rows of %u values are not whole blocks of %s",
                    a->row, type->name);
    }
    struct job j = {.src = cpu_floats(a->src, (size_t)a->n_tokens * a->row),
                    .cells = cpu_ints(a->cells, a->n_tokens),
                    .cache = cpu_at(a->cache, 0),
                    .n_tokens = a->n_tokens,
                    .row = a->row,
                    .row_bytes = type_bytes(type, a->row),
                    .group_bytes = type_bytes(type, 32),
                    .encode = encoders[a->type]};
    size_t grain = cpu_grain(a->n_tokens) / 32 * 32;
    pool_run(c->pool, a->row, grain < 32 ? 32 : grain, write_rows, &j);
    cpu_count(c, "kv_write", cpu_types[a->type].name, NULL);
    return ST_OK;
}
