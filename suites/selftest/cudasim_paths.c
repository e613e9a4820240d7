/* The CUDA kernels that serve every type, where a faster one for some types stands in front of
 * them: both ways of a product are judged against the same decoded weights, of one matrix, and of
 * the same rows as experts of three rows each. */
#include "selftest/cudasim.h"
#include "engine/backend.h"
#include "judge/compare.h"
#include "reference/ref.h"
#include "harness/random.h"

#include <stdio.h>
#include <string.h>

enum {
    N_IN = 2048,
    N_OUT = 9,
    MAX_COLS = 20,
    EXPERTS = 3,
    USED = 2,
    EXPERT_ROWS = N_OUT / EXPERTS,
    MAX_BUFFERS = 4
};

/* A product: its inputs, and what it is in double precision. */
struct product {
    const struct type_spec *type;
    uint8_t *w;
    float *x, *out;
    double *want, *mag;
};

static bool make_product(struct test *t, struct product *p)
{
    struct rng r = rng_of(t);
    size_t n = (size_t)N_IN * N_OUT, n_x = (size_t)N_IN * MAX_COLS, n_y = (size_t)N_OUT * MAX_COLS;
    float *values = test_alloc(t, n, sizeof *values);
    double *x = test_alloc(t, n_x, sizeof *x);
    p->w = test_alloc(t, type_bytes(p->type, n), 1);
    p->x = test_alloc(t, n_x, sizeof *p->x);
    p->out = test_alloc(t, n_y, sizeof *p->out);
    p->want = test_alloc(t, n_y, sizeof *p->want);
    p->mag = test_alloc(t, n_y, sizeof *p->mag);
    if (!values || !x || !p->w || !p->x || !p->out || !p->want || !p->mag) return false;
    for (size_t i = 0; i < n; i++) values[i] = (float)rng_gauss(&r);
    for (size_t i = 0; i < n_x; i++) x[i] = p->x[i] = (float)rng_gauss(&r);
    ref_encode(p->type->id, values, n, NULL, p->w);
    ref_matmul(p->type->id, p->w, N_OUT, N_IN, x, MAX_COLS, NULL, p->want, p->mag);
    return true;
}

/* The last kernel's name begins like this. */
static void expect_kernel(struct test *t, struct backend *b, const char *kernel)
{
    struct backend_stats stats;
    backend_ops_of(b)->stats(b, &stats);
    test_check(t, strncmp(stats.variant, kernel, strlen(kernel)) == 0, "%s ran, not %s",
               stats.variant, kernel);
}

/* The first n_cols columns by matvec or matmul; the kernel's name is to begin with `kernel`. */
static enum status run_product(struct test *t, struct backend *b, struct product *p,
                               struct dbuf **bufs, uint32_t n_cols, const char *kernel,
                               struct err *e)
{
    const struct backend_ops *ops = backend_ops_of(b);
    struct op_matmul a = {.w = {{bufs[0], 0}, p->type->id, N_IN, N_OUT}, .n_cols = n_cols};
    size_t n = (size_t)n_cols * N_OUT;
    a.x.buf = bufs[1];
    a.out.buf = bufs[2];
    enum status st = n_cols == 1 ? ops->matvec(b, &a, e) : ops->matmul(b, &a, e);
    if (st == ST_OK) st = ops->download(b, p->out, a.out, n * sizeof *p->out, e);
    if (st != ST_OK) return st;
    const struct comparison c = {.cls = TOL_DOT,
                                 .got = p->out,
                                 .want = p->want,
                                 .mag = p->mag,
                                 .rows = n_cols,
                                 .cols = N_OUT,
                                 .n = N_IN};
    compare(&t->result, &c);
    expect_kernel(t, b, kernel);
    return ST_OK;
}

/* The first n_tokens columns, each with two experts: rows of the same product. */
static enum status run_experts(struct test *t, struct backend *b, struct product *p,
                               struct dbuf **bufs, uint32_t n_tokens, const char *kernel,
                               struct err *e)
{
    const struct backend_ops *ops = backend_ops_of(b);
    const struct op_matmul_id a = {.w = {{bufs[0], 0}, p->type->id, N_IN, EXPERT_ROWS},
                                   .x = {bufs[1], 0},
                                   .ids = {bufs[3], 0},
                                   .out = {bufs[2], 0},
                                   .n_tokens = n_tokens,
                                   .n_used = USED,
                                   .n_experts = EXPERTS};
    int32_t ids[MAX_COLS][USED];
    double want[MAX_COLS * USED * EXPERT_ROWS], mag[MAX_COLS * USED * EXPERT_ROWS];
    for (int32_t i = 0; i < MAX_COLS * USED; i++) {
        const int32_t token = i / USED, id = (i * i + i / 7) % EXPERTS;
        const size_t from = (size_t)token * N_OUT + (size_t)id * EXPERT_ROWS;
        ids[token][i % USED] = id;
        memcpy(want + (size_t)i * EXPERT_ROWS, p->want + from, EXPERT_ROWS * sizeof *want);
        memcpy(mag + (size_t)i * EXPERT_ROWS, p->mag + from, EXPERT_ROWS * sizeof *mag);
    }
    size_t n = (size_t)n_tokens * USED * EXPERT_ROWS;
    enum status st = ops->upload(b, a.ids, ids, sizeof ids, e);
    if (st == ST_OK) st = ops->matmul_id(b, &a, e);
    if (st == ST_OK) st = ops->download(b, p->out, a.out, n * sizeof *p->out, e);
    if (st != ST_OK) return st;
    const struct comparison c = {.cls = TOL_DOT,
                                 .got = p->out,
                                 .want = want,
                                 .mag = mag,
                                 .rows = (size_t)n_tokens * USED,
                                 .cols = EXPERT_ROWS,
                                 .n = N_IN};
    compare(&t->result, &c);
    expect_kernel(t, b, kernel);
    return ST_OK;
}

static void run_variant(struct test *t, struct product *p, const char *variant, const char *vec,
                        const char *vec_id)
{
    const struct backend_ops *ops = backend_by_name("cuda-sim");
    const struct backend_options o = {.variant = variant};
    const size_t sizes[MAX_BUFFERS] = {0, (size_t)N_IN * MAX_COLS, (size_t)N_OUT * MAX_COLS,
                                       (size_t)MAX_COLS * USED};
    struct dbuf *bufs[MAX_BUFFERS] = {NULL};
    struct backend *b = NULL;
    struct err e = {0};
    if (!ops) {
        test_skip(t, "cuda-sim is not in this build");
        return;
    }
    enum status st = ops->open(&b, &o, &e);
    if (st == ST_OK)
        st = ops->import(b, p->w, type_bytes(p->type, (size_t)N_IN * N_OUT), &bufs[0], &e);
    for (size_t i = 1; st == ST_OK && i < MAX_BUFFERS; i++)
        st = ops->alloc(b, sizes[i] * sizeof(float), &bufs[i], &e);
    if (st == ST_OK)
        st = ops->upload(b, (struct view){bufs[1], 0}, p->x, sizes[1] * sizeof(float), &e);
    if (st == ST_OK) st = run_product(t, b, p, bufs, 1, vec, &e);
    if (st == ST_OK) st = run_product(t, b, p, bufs, MAX_COLS, "matmul_", &e);
    if (st == ST_OK) st = run_experts(t, b, p, bufs, 3, vec_id, &e);
    if (st == ST_OK) st = run_experts(t, b, p, bufs, MAX_COLS, "matmul_id_", &e);
    test_ok(t, st, &e);
    for (size_t i = 0; b && i < MAX_BUFFERS; i++) ops->release(b, bufs[i]);
    if (b) ops->close(b);
}

static void run_paths(struct test *t, const struct test_case *c)
{
    struct product p = {.type = c->arg};
    char vec[40], vec_id[40];
    if (!make_product(t, &p)) return;
    snprintf(vec, sizeof vec, "matvec1_%s", p.type->c_name);
    snprintf(vec_id, sizeof vec_id, "matvec_id_%s", p.type->c_name);
    run_variant(t, &p, "general", vec, vec_id);
    run_variant(t, &p, NULL, "matvec_fast_", "matvec_id_fast_");
}

void cudasim_paths_cases(struct case_list *l)
{
    static const enum tensor_type types[] = {
#define FAST(e, c, chunk, align) TYPE_##e,
#include "engine/cuda/kernels/fast.def"
#undef FAST
    };
    struct test_case c = {.suite = "cudasim", .op = "paths", .subject = "cuda-sim", .quick = true};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const struct type_spec *type = type_by_id((int64_t)types[i]);
        c.type = type->name, c.arg = type, c.run = run_paths;
        case_add(l, &c);
    }
}
