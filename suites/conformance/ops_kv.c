/* Cases of what is stored in a KV cache. */
#include "conformance/ops.h"
#include "judge/compare.h"
#include "reference/ref.h"
#include "harness/random.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 32 };

/* What a block of values is like. */
enum block_kind {
    BLOCK_random,
    BLOCK_ties,     /* multiples of half a step: halves to be rounded */
    BLOCK_equals,   /* the largest magnitude with both signs */
    BLOCK_zero,     /* +0; a first -0 */
    BLOCK_one_hot,  /* one value that is not zero */
    BLOCK_constant, /* no range */
    BLOCK_tiny,     /* a scale whose reciprocal is infinite */
    BLOCK_small,    /* a scale whose reciprocal is barely finite, and subnormal values */
    BLOCK_large,    /* a scale beyond binary16 */
    BLOCK_half,     /* a scale that is subnormal in binary16 */
    BLOCK_offset,   /* far from zero */
    N_BLOCK_KINDS
};

/* Of the largest magnitude, in steps. */
static double steps_of(enum tensor_type type)
{
    return type == TYPE_Q4_0 ? 8 : type == TYPE_Q5_1 ? 15.5 : 127;
}

static float half_steps(enum tensor_type type, struct rng *r, size_t i)
{
    const double most = steps_of(type), step = 0x1p-5;
    const double place = floor(rng_uniform(r) * (4 * most + 1)) / 2 - most;
    return (float)(step * (i == 3 ? -most : i == 17 && type == TYPE_Q5_1 ? most : place));
}

static void fill_block(enum block_kind kind, enum tensor_type type, struct rng *r, float *x)
{
    const double spread = exp2(rng_gauss(r) * 4);
    const size_t one = rng_below(r, BLOCK), other = rng_below(r, BLOCK);
    for (size_t i = 0; i < BLOCK; i++) {
        const double g = rng_gauss(r);
        x[i] = kind == BLOCK_ties       ? half_steps(type, r, i)
               : kind == BLOCK_zero     ? 0.0f
               : kind == BLOCK_one_hot  ? (i == one ? (float)g : 0.0f)
               : kind == BLOCK_constant ? (float)spread
               : kind == BLOCK_tiny     ? (float)(g * 1e-39)
               : kind == BLOCK_small    ? (float)(g * 1e-38 * steps_of(type) / 4)
               : kind == BLOCK_large    ? (float)(g * 1e9)
               : kind == BLOCK_half     ? (float)(g * 2e-6)
               : kind == BLOCK_offset   ? (float)(100 + g)
                                        : (float)(g * spread);
    }
    if (kind == BLOCK_zero && one % 2) x[0] = -0.0f;
    if (kind == BLOCK_equals) {
        x[one] = (float)(5 * spread);
        x[other] = -(float)(5 * spread);
    }
}

/* Types of single values keep infinities and NaN too. */
static void fill_rows(enum tensor_type type, struct rng *r, float *x, size_t n)
{
    static const float edges[] = {0.0f,     -0.0f,       65504.0f,       -65520.0f, 1e30f,    6e-8f,
                                  2.98e-8f, 1.0009765f,  1.00146484375f, -6.1e-5f,  INFINITY, NAN,
                                  3.4e38f,  1.00390625f, 1.01171875f,    1e-40f};
    if (type_by_id(type)->block_elems == BLOCK) {
        const size_t first = rng_below(r, N_BLOCK_KINDS);
        for (size_t i = 0; i < n / BLOCK; i++)
            fill_block((enum block_kind)((first + i) % N_BLOCK_KINDS), type, r, x + i * BLOCK);
        return;
    }
    for (size_t i = 0; i < n; i++)
        x[i] = i % 5 == 0 ? edges[i / 5 % (sizeof edges / sizeof *edges)]
                          : (float)(rng_gauss(r) * exp2(rng_gauss(r) * 6));
}

/* Decoded, for what is wrong to show where it is; blocks to the last bit as well. */
static void judge_cache(struct test *t, const struct op_row *row, enum tensor_type type,
                        const uint8_t *got, const uint8_t *want, size_t n_cells)
{
    const size_t width = (size_t)row->kv_heads * row->head_dim, n = n_cells * width;
    const struct axes axes = {"cell", "dimension", row->head_dim, "head"};
    float *x = test_alloc(t, n, sizeof *x), *y = test_alloc(t, n, sizeof *y);
    if (!x || !y) return;
    ref_decode(type, got, n, x);
    ref_decode(type, want, n, y);
    compare_bits_on(&t->result, x, y, n_cells, width, &axes);
    if (t->result.status == CASE_PASS && type_by_id(type)->block_elems == BLOCK)
        compare_bytes(&t->result, got, want, type_bytes(type_by_id(type), n));
}

void ops_run_kv_write(struct test *t, const struct test_case *c)
{
    const struct op_row *row = c->arg;
    const struct type_spec *type = type_by_name(c->type);
    const size_t width = (size_t)row->kv_heads * row->head_dim, cell = type_bytes(type, width);
    const size_t n_tokens = row->rows, n_cells = n_tokens + 3;
    struct rng r = rng_of(t);
    float *src = test_alloc(t, n_tokens * width, sizeof *src);
    int32_t *cells = test_alloc(t, n_tokens, sizeof *cells);
    uint8_t *want = test_alloc(t, n_cells, cell), *start = test_alloc(t, n_cells, cell);
    if (!src || !cells || !want || !start) return;
    fill_rows(type->id, &r, src, n_tokens * width);
    memset(start, 0x5a, n_cells * cell); /* cells that are not written keep this */
    memcpy(want, start, n_cells * cell);
    for (size_t i = 0; i < n_tokens; i++) {
        cells[i] = (int32_t)(n_cells - 1 - i);
        ref_cache_encode(type->id, src + i * width, width, want + (size_t)cells[i] * cell);
    }
    struct rig g;
    if (!rig_open(&g, t, c)) return;
    struct op_kv_write a = {.src = rig_input(&g, src, n_tokens * width * sizeof *src),
                            .cells = rig_input(&g, cells, n_tokens * sizeof *cells),
                            .cache = rig_inout(&g, start, n_cells * cell),
                            .n_tokens = (uint32_t)n_tokens,
                            .row = (uint32_t)width,
                            .type = type->id};
    if (rig_has(&g, g.ops->kv_write, c->op)) rig_did(&g, g.ops->kv_write(g.b, &a, &g.e));
    const uint8_t *got = rig_get_bytes(&g, a.cache, n_cells * cell);
    if (got) judge_cache(t, row, type->id, got, want, n_cells);
    rig_close(&g);
}
