/* kv_write: rows into cells of the KV cache, in the cache's type. Threads split the row, not the
 * tokens: if two tokens name one cell, the later one stays, as in order. */
#include "cpu/cpu.h"

#include <string.h>

struct job {
    const float *src;
    const int32_t *cells;
    uint8_t *cache;
    size_t n_tokens, row;
};

/* Round to nearest, ties to even; NaN stays NaN, what is too large becomes infinite. */
static uint16_t to_half(float f)
{
    union {
        float f;
        uint32_t u;
    } v = {.f = f}, small;
    uint32_t sign = v.u >> 16 & 0x8000u, a = v.u & 0x7fffffffu;
    /* Below half's normal numbers: adding 0.5 leaves the multiples of 2^-24 in the low bits,
     * rounded by the addition. */
    small.u = a;
    small.f += 0.5f;
    uint32_t normal = (a - 0x38000000u + 0xfffu + (a >> 13 & 1u)) >> 13;
    uint32_t h = a < 0x38800000u ? small.u - 0x3f000000u : normal;
    h = a >= 0x477ff000u ? 0x7c00u : h; /* 65520 and up */
    h = a > 0x7f800000u ? 0x7e00u : h;
    return (uint16_t)(sign | h);
}

static void write_f32(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    (void)thread;
    for (size_t t = 0; t < j->n_tokens; t++) {
        float *cell = (float *)(void *)j->cache + (size_t)j->cells[t] * j->row;
        memcpy(cell + begin, j->src + t * j->row + begin, (end - begin) * sizeof *cell);
    }
}

static void write_f16(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    (void)thread;
    for (size_t t = 0; t < j->n_tokens; t++) {
        uint16_t *cell = (uint16_t *)(void *)j->cache + (size_t)j->cells[t] * j->row;
        const float *src = j->src + t * j->row;
        for (size_t i = begin; i < end; i++) cell[i] = to_half(src[i]);
    }
}

enum status cpu_kv_write(struct backend *b, const struct op_kv_write *a, struct err *e)
{
    struct cpu *c = cpu_of(b);
    bool half = a->type == TYPE_F16;
    if (!half && a->type != TYPE_F32) {
        return fail(e, ST_UNSUPPORTED, "cpu: kv_write: the cache is f32 or f16, not type id %u",
                    (unsigned)a->type);
    }
    struct job j = {cpu_floats(a->src, (size_t)a->n_tokens * a->row),
                    cpu_ints(a->cells, a->n_tokens), cpu_at(a->cache, 0), a->n_tokens, a->row};
    pool_run(c->pool, a->row, 256, half ? write_f16 : write_f32, &j);
    cpu_count(c, "kv_write", cpu_types[a->type].name, NULL);
    return ST_OK;
}
