/* Operations on weights as launches, and the choice among their kernels. */
#include "engine/cuda/plan.h"

#include <string.h>

/* Kernels of a type. */
struct type_kernels {
    bool weight;
    uint32_t elems, bytes;
    enum kernel_id get_rows, matvec1, matvec8, matmul, matvec_id, matmul_id;
};

/* Types with a faster matvec of one column, see kernels/fast.def. */
static const struct fast_kernel {
    enum kernel_id matvec, matvec_id;
    uint32_t chunk, align; /* chunk 0: none */
} fast_kernels[TYPE_ID_END] = {
#define FAST(e, c, n, bytes)                                                                       \
    [TYPE_##e] = {KERNEL_matvec_fast_##c, KERNEL_matvec_id_fast_##c, n, bytes},
#include "engine/cuda/kernels/fast.def"
#undef FAST
};

/* Types with a matmul on tensor cores, see kernels/mma.def. */
static const struct mma_kernel {
    enum kernel_id kernel;
    bool known;
} mma_kernels[TYPE_ID_END] = {
#define MMA(e, c) [TYPE_##e] = {KERNEL_matmul_mma_##c, true},
#include "engine/cuda/kernels/mma.def"
#undef MMA
};

#define W_KERNELS(c)                                                                               \
    .weight = true, .matvec1 = KERNEL_matvec1_##c, .matvec8 = KERNEL_matvec8_##c,                  \
    .matmul = KERNEL_matmul_##c, .matvec_id = KERNEL_matvec_id_##c,                                \
    .matmul_id = KERNEL_matmul_id_##c
static const struct type_kernels type_kernels[TYPE_ID_END] = {
#define TYPE(e, num, nm, c, n, size, use, act)                                                     \
    IF_DECODED(use)                                                                                \
    ([num] = {.elems = n,                                                                          \
              .bytes = size,                                                                       \
              .get_rows = KERNEL_get_rows_##c,                                                     \
              IF_WEIGHT(use)(W_KERNELS(c))}, )
#include "spec/types.def"
#undef TYPE
};

static uint64_t tiles(uint64_t n, uint32_t tile)
{
    return (n + tile - 1) / tile;
}

/* Rows of weights of a type that has kernels; copies: matrices one after the other. */
static const struct type_kernels *use_weight(struct plan *p, const struct weight *w,
                                             uint32_t copies, bool rows, const uint8_t **at,
                                             uint64_t *row_bytes)
{
    const struct type_kernels *t = (unsigned)w->type < TYPE_ID_END ? &type_kernels[w->type] : NULL;
    if (p->st != ST_OK) return NULL;
    if (!t || t->elems == 0 || (!t->weight && !rows) || w->n_in % t->elems != 0) {
        p->st = fail(p->e, ST_UNSUPPORTED, "weights of type %d, rows of %u", (int)w->type, w->n_in);
        return NULL;
    }
    *row_bytes = (uint64_t)(w->n_in / t->elems) * t->bytes;
    *at = plan_bytes(p, "w", w->at, (size_t)copies * w->n_out, *row_bytes, READ);
    return p->st == ST_OK ? t : NULL;
}

enum status cuda_op_get_rows(struct backend *b, const struct op_get_rows *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_get_rows k = {.n_in = a->w.n_in, .n = a->n};
    const struct type_kernels *t = use_weight(&p, &a->w, 1, true, &k.w, &k.row_bytes);
    k.ids = plan_use(&p, "ids", a->ids, a->n, READ);
    k.out = plan_use(&p, "out", a->out, (size_t)a->n * a->w.n_in, WRITE);
    if (p.st != ST_OK) return p.st;
    return plan_run_flat(b, &p, t->get_rows, a->n * tiles(a->w.n_in, 8), &k, sizeof k);
}

static const struct type_kernels *plan_matmul(struct plan *p, const struct op_matmul *a,
                                              struct k_matmul *k)
{
    k->n_in = a->w.n_in;
    k->n_out = a->w.n_out;
    k->n_cols = a->n_cols;
    const struct type_kernels *t = use_weight(p, &a->w, 1, false, &k->w, &k->row_bytes);
    k->x = plan_use(p, "x", a->x, (size_t)a->n_cols * a->w.n_in, READ);
    k->bias = plan_use(p, "bias", a->bias, a->w.n_out, READ);
    k->out = plan_use(p, "out", a->out, (size_t)a->n_cols * a->w.n_out, WRITE);
    return p->st == ST_OK ? t : NULL;
}

/* The fast kernels of a type where they can do it: whole chunks, wide loads aligned. Else NULL. */
static const struct fast_kernel *fast_fits(const struct backend *b, const struct weight *type,
                                           const uint8_t *w, uint64_t row_bytes, const float *x)
{
    const struct cuda_base *c = (const struct cuda_base *)(const void *)b;
    const struct fast_kernel *f = &fast_kernels[type->type];
    bool fits = !c->general && f->chunk != 0 && type->n_in % f->chunk == 0 &&
                (uintptr_t)w % f->align == 0 && row_bytes % f->align == 0 &&
                (uintptr_t)x % sizeof(float[4]) == 0 && type->n_out > 0;
    return fits ? f : NULL;
}

enum status cuda_op_matvec(struct backend *b, const struct op_matmul *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_matmul k = {0};
    const struct type_kernels *t = plan_matmul(&p, a, &k);
    if (!t) return p.st;
    if (a->n_cols > MATVEC_COLS)
        return fail(e, ST_RANGE, "matvec of %u columns, at most %d", a->n_cols, MATVEC_COLS);
    const struct fast_kernel *f = fast_fits(b, &a->w, k.w, k.row_bytes, k.x);
    struct plan_kernel general = {a->n_cols == 1 ? t->matvec1 : t->matvec8,
                                  tiles(k.n_out, MATVEC_WARPS), a->n_cols > 0, MATVEC_WARPS * WARP};
    struct plan_kernel fast = {f ? f->matvec : KERNEL_COUNT, tiles(k.n_out, FAST_ROWS), 1,
                               FAST_WARPS * WARP};
    return plan_run(b, &p, f && a->n_cols == 1 ? fast : general, &k, sizeof k);
}

enum status cuda_op_matmul(struct backend *b, const struct op_matmul *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_matmul k = {0};
    const struct type_kernels *t = plan_matmul(&p, a, &k);
    if (!t) return p.st;
    const struct cuda_base *c = (const struct cuda_base *)(const void *)b;
    bool mma = c->mma && mma_kernels[a->w.type].known;
    struct plan_kernel kernel = {mma ? mma_kernels[a->w.type].kernel : t->matmul,
                                 tiles(k.n_out, TILE_M), tiles(k.n_cols, TILE_N),
                                 mma ? MMA_BLOCK : TILE_BLOCK};
    return plan_run(b, &p, kernel, &k, sizeof k);
}

/* Pairs of tokens and slots one by one where most have an expert of their own, whose weights would
 * be read for each of them anyhow; else those of an expert together. */
static struct plan_kernel choose_matmul_id(const struct backend *b, const struct op_matmul_id *a,
                                           const struct k_matmul_id *k)
{
    const struct type_kernels *t = &type_kernels[a->w.type];
    const struct fast_kernel *f = fast_fits(b, &a->w, k->w, k->row_bytes, k->x);
    uint32_t few = a->n_experts > MATVEC_COLS ? a->n_experts : MATVEC_COLS;
    if (k->n_pairs > few || k->n_pairs > UINT16_MAX)
        return (struct plan_kernel){t->matmul_id, tiles(k->n_out, TILE_M), a->n_experts,
                                    TILE_BLOCK};
    if (f)
        return (struct plan_kernel){f->matvec_id, tiles(k->n_out, FAST_ROWS), k->n_pairs,
                                    FAST_WARPS * WARP};
    return (struct plan_kernel){t->matvec_id, tiles(k->n_out, MATVEC_WARPS), k->n_pairs,
                                MATVEC_WARPS * WARP};
}

enum status cuda_op_matmul_id(struct backend *b, const struct op_matmul_id *a, struct err *e)
{
    struct plan p = {.e = e};
    uint64_t pairs = (uint64_t)a->n_tokens * a->n_used;
    struct k_matmul_id k = {.n_in = a->w.n_in,
                            .n_out = a->w.n_out,
                            .n_pairs = (uint32_t)pairs,
                            .x_pairs = a->x_per_slot ? 1 : a->n_used};
    if (pairs > UINT32_MAX)
        return fail(e, ST_RANGE, "matmul_id: %u tokens of %u slots", a->n_tokens, a->n_used);
    use_weight(&p, &a->w, a->n_experts, false, &k.w, &k.row_bytes);
    k.x = plan_use(&p, "x", a->x, (size_t)(a->x_per_slot ? pairs : a->n_tokens) * k.n_in, READ);
    k.ids = plan_use(&p, "ids", a->ids, pairs, READ);
    k.bias = plan_use(&p, "bias", a->bias, (size_t)a->n_experts * k.n_out, READ);
    k.out = plan_use(&p, "out", a->out, (size_t)pairs * k.n_out, WRITE);
    if (p.st != ST_OK) return p.st;
    return plan_run(b, &p, choose_matmul_id(b, a, &k), &k, sizeof k);
}
