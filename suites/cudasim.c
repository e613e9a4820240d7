/* The suite of cuda-sim itself: does it see what hardware would not tell?
 *
 *   mutant  a kernel with a deliberate fault is reported by the fault's name, the kernel's, a block's
 *           and a thread's; the same operation with the right kernel is not
 *   input   faults that inputs make: two tokens into one cell, an id past the end, a cell never
 *           written (and none where the cell is hidden)
 *   clean   every operation and every type, with sizes that leave tails: nothing is reported
 */
#include "cudasim.h"
#include "backend.h"

#include <stdio.h>
#include <string.h>

enum { MAX_BUFFERS = 12, N = 300, HEADS = 4, KV_HEADS = 2, DIM = 24, TOKENS = 3, CELLS = 70 };

struct bench {
    struct test *t;
    const struct backend_ops *ops;
    struct backend *b;
    struct err e;
    struct rng rng;
    struct dbuf *buffers[MAX_BUFFERS];
    size_t n;
    bool ok;
};

/* Opens cuda-sim in a variant; false: skipped or failed. */
static bool bench_open(struct bench *s, struct test *t, const char *variant)
{
    const struct backend_options o = {.variant = variant};
    *s = (struct bench){.t = t, .ops = backend_by_name("cuda-sim"), .rng = rng_of(t)};
    if (!s->ops) {
        test_skip(t, "cuda-sim is not in this build");
        return false;
    }
    s->ok = test_ok(t, s->ops->open(&s->b, &o, &s->e), &s->e);
    return s->ok;
}

static void bench_close(struct bench *s)
{
    struct backend_stats stats = {0};
    if (!s->b) return;
    s->ops->stats(s->b, &stats);
    s->t->result.dispatches = stats.dispatches;
    snprintf(s->t->result.variant, sizeof s->t->result.variant, "%s", stats.variant);
    for (size_t i = 0; i < s->n; i++) s->ops->release(s->b, s->buffers[i]);
    s->ops->close(s->b);
}

/* A buffer of its own, so that its ends are the argument's. data NULL: not written. */
static struct view bench_buffer(struct bench *s, const void *data, size_t bytes)
{
    struct view v = {NULL, 0};
    if (!s->ok || !test_check(s->t, s->n < MAX_BUFFERS, "too many buffers")) return v;
    s->ok = test_ok(s->t, s->ops->alloc(s->b, bytes, &v.buf, &s->e), &s->e);
    if (!s->ok) return v;
    s->buffers[s->n++] = v.buf;
    if (data) s->ok = test_ok(s->t, s->ops->upload(s->b, v, data, bytes, &s->e), &s->e);
    return v;
}

static float *random_values(struct bench *s, size_t n)
{
    float *x = test_alloc(s->t, n, sizeof *x);
    for (size_t i = 0; x && i < n; i++) x[i] = (float)rng_gauss(&s->rng);
    if (!x) s->ok = false;
    return x;
}

static struct view bench_values(struct bench *s, size_t n)
{
    float *x = random_values(s, n);
    return bench_buffer(s, x, n * sizeof *x);
}

static struct view bench_output(struct bench *s, size_t n)
{
    return bench_buffer(s, NULL, n * sizeof(float));
}

/* ---- operations ------------------------------------------------------------------------------ */

static enum status do_rms_norm(struct bench *s)
{
    struct op_norm a = {.rows = 2, .n = N, .w_rows = 1, .eps = 1e-5f};
    a.x = bench_values(s, 2 * N);
    a.w = bench_values(s, N);
    a.out = bench_output(s, 2 * N);
    return s->ok ? s->ops->rms_norm(s->b, &a, &s->e) : ST_OK;
}

static enum status do_scale(struct bench *s)
{
    struct op_scale a = {.n = N, .factor = 0.5f};
    a.x = bench_values(s, N);
    a.out = bench_output(s, N);
    return s->ok ? s->ops->scale(s->b, &a, &s->e) : ST_OK;
}

static enum status do_rope(struct bench *s)
{
    struct op_rope a = {.n_tokens = TOKENS, .n_heads = HEADS, .head_dim = DIM, .n_dims = DIM - 4};
    a.x = bench_values(s, (size_t)TOKENS * HEADS * DIM);
    a.table = bench_values(s, (size_t)TOKENS * (DIM - 4));
    return s->ok ? s->ops->rope(s->b, &a, &s->e) : ST_OK;
}

/* Also judged: the probe is to be seen through. */
static enum status do_add(struct bench *s)
{
    struct op_binary a = {.n = N};
    float *x = random_values(s, N), *y = random_values(s, N), sum[N];
    a.a = bench_buffer(s, x, N * sizeof *x);
    a.b = bench_buffer(s, y, N * sizeof *y);
    a.out = bench_output(s, N);
    if (!s->ok) return ST_OK;
    enum status st = s->ops->add(s->b, &a, &s->e);
    if (st == ST_OK) st = s->ops->download(s->b, sum, a.out, sizeof sum, &s->e);
    for (size_t i = 0; st == ST_OK && i < N; i++)
        if (!(sum[i] == x[i] + y[i])) {
            test_fail(s->t, "element %zu of the sum is %g", i, (double)sum[i]);
            break;
        }
    return st;
}

static enum status do_unary(struct bench *s)
{
    struct op_unary a = {.n = N};
    a.x = bench_values(s, N);
    a.out = bench_output(s, N);
    if (!s->ok) return ST_OK;
    enum status st = s->ops->silu(s->b, &a, &s->e);
    return st == ST_OK ? s->ops->gelu(s->b, &a, &s->e) : st;
}

static enum status do_binary(struct bench *s)
{
    struct op_binary a = {.n = N};
    a.a = bench_values(s, N);
    a.b = bench_values(s, N);
    a.out = a.a; /* allowed: every thread reads its own element first */
    if (!s->ok) return ST_OK;
    enum status st = s->ops->silu_mul(s->b, &a, &s->e);
    return st == ST_OK ? s->ops->gelu_mul(s->b, &a, &s->e) : st;
}

static enum status do_rows(struct bench *s)
{
    struct op_softmax soft = {.rows = 2, .n = N};
    soft.x = soft.out = bench_values(s, 2 * N);
    if (!s->ok) return ST_OK;
    enum status st = s->ops->softmax(s->b, &soft, &s->e);
    struct op_rows a = {.x = soft.x, .out = bench_output(s, 2), .rows = 2, .n = N};
    return st == ST_OK && s->ok ? s->ops->argmax(s->b, &a, &s->e) : st;
}

/* Which cells are written, and which can be seen. */
struct attention_case {
    uint32_t written, visible;
    bool one_cell; /* all tokens into cell 0 */
};

static enum status do_attention_of(struct bench *s, const struct attention_case *c,
                                   enum tensor_type type)
{
    const uint32_t row = KV_HEADS * DIM;
    int32_t pos[TOKENS], first[TOKENS] = {0}, cell_pos[CELLS], cells[CELLS];
    for (int32_t i = 0; i < TOKENS; i++) pos[i] = CELLS + i;
    for (int32_t i = 0; i < CELLS; i++) {
        cell_pos[i] = (uint32_t)i < c->visible ? i : -1;
        cells[i] = c->one_cell ? 0 : i;
    }
    size_t cache = (size_t)CELLS * row * (type == TYPE_F16 ? 2 : 4);
    struct op_kv_write w = {.n_tokens = c->written, .row = row, .type = type};
    w.src = bench_values(s, (size_t)CELLS * row);
    w.cells = bench_buffer(s, cells, sizeof cells);
    w.cache = bench_buffer(s, NULL, cache);
    struct op_attention a = {.n_tokens = TOKENS,
                             .n_heads = HEADS,
                             .n_kv_heads = KV_HEADS,
                             .head_dim = DIM,
                             .value_dim = DIM,
                             .n_cells = CELLS,
                             .k_type = type,
                             .v_type = type,
                             .scale = 0.2f};
    a.q = bench_values(s, (size_t)TOKENS * HEADS * DIM);
    a.k = a.v = w.cache;
    a.pos = bench_buffer(s, pos, sizeof pos);
    a.first = bench_buffer(s, first, sizeof first);
    a.cell_pos = bench_buffer(s, cell_pos, sizeof cell_pos);
    a.probs = bench_output(s, (size_t)TOKENS * HEADS * CELLS);
    a.out = bench_output(s, (size_t)TOKENS * HEADS * DIM);
    if (!s->ok) return ST_OK;
    enum status st = s->ops->kv_write(s->b, &w, &s->e);
    if (st == ST_OK) st = s->ops->attention(s->b, &a, &s->e);
    if (st == ST_OK) st = s->ops->attn_scores(s->b, &a, &s->e);
    return st == ST_OK ? s->ops->attn_mix(s->b, &a, &s->e) : st;
}

static enum status do_attention(struct bench *s)
{
    /* The last cells are neither written nor seen: reading them would be reported. */
    const struct attention_case c = {.written = CELLS - 6, .visible = CELLS - 6};
    enum status st = do_attention_of(s, &c, TYPE_F16);
    return st;
}

static enum status do_attention_f32(struct bench *s)
{
    const struct attention_case c = {.written = 5, .visible = 5};
    return do_attention_of(s, &c, TYPE_F32);
}

/* Random bytes as weights: any are decoded, and only accesses are judged here. id: of the last row
 * to look up. */
static enum status do_type(struct bench *s, const struct type_spec *type, int32_t id)
{
    const uint32_t n_out = 67, n_cols = 5;
    uint32_t n_in = type->block_elems == 1 ? 77 : type->block_elems < 256 ? 192 : 256;
    if (n_in % type->block_elems != 0) n_in = type->block_elems * 2;
    size_t bytes = type_bytes(type, n_in) * n_out;
    uint8_t *w = test_alloc(s->t, bytes, 1);
    if (!w) return ST_OK;
    for (size_t i = 0; i < bytes; i++) w[i] = (uint8_t)rng_u64(&s->rng);
    struct weight weight = {.type = type->id, .n_in = n_in, .n_out = n_out};
    s->ok = test_ok(s->t, s->ops->import(s->b, w, bytes, &weight.at.buf, &s->e), &s->e);
    if (!s->ok) return ST_OK;
    s->buffers[s->n++] = weight.at.buf;
    int32_t ids[3] = {2, 0, id};
    struct op_get_rows g = {.w = weight, .n = 3};
    g.ids = bench_buffer(s, ids, sizeof ids);
    g.out = bench_output(s, (size_t)3 * n_in);
    enum status st = s->ok ? s->ops->get_rows(s->b, &g, &s->e) : ST_OK;
    if (st != ST_OK || type->use != USE_W) return st;
    struct op_matmul m = {.w = weight, .n_cols = 1};
    m.x = bench_values(s, (size_t)n_cols * n_in);
    m.bias = bench_values(s, n_out);
    m.out = bench_output(s, (size_t)n_cols * n_out);
    if (s->ok) st = s->ops->matvec(s->b, &m, &s->e);
    m.n_cols = n_cols;
    if (s->ok && st == ST_OK) st = s->ops->matvec(s->b, &m, &s->e);
    return s->ok && st == ST_OK ? s->ops->matmul(s->b, &m, &s->e) : st;
}

/* ---- cases ----------------------------------------------------------------------------------- */

static const struct operation {
    const char *kernel;
    enum status (*run)(struct bench *s);
} operations[] = {
    {"rms_norm", do_rms_norm}, {"scale", do_scale},         {"rope", do_rope},
    {"add", do_add},           {"unary", do_unary},         {"binary", do_binary},
    {"rows", do_rows},         {"attention", do_attention}, {"attention_f32", do_attention_f32},
};
enum { N_OPERATIONS = sizeof operations / sizeof *operations };

static const struct mutant {
    const char *name, *kernel, *fault;
} mutants[] = {
#define MUTANT(name, file, kernel, fault) {#name, #kernel, fault},
#include "cuda/sim/mutants.def"
#undef MUTANT
};
enum { N_MUTANTS = sizeof mutants / sizeof *mutants };

/* Reported: by the fault's name, the kernel, a block, a thread. */
static void expect_fault(struct bench *s, enum status st, const char *fault, const char *kernel)
{
    char start[120];
    if (!s->ok) return;
    snprintf(start, sizeof start, "cuda-sim: %s in kernel %s, block (", fault, kernel);
    if (!test_check(s->t, st == ST_DEVICE, "not reported: status %d, %s", (int)st, s->e.text))
        return;
    test_check(s->t, strncmp(s->e.text, start, strlen(start)) == 0 && strstr(s->e.text, "thread ("),
               "reported as \"%s\", not as %s in %s", s->e.text, fault, kernel);
}

static void run_mutant(struct test *t, const struct test_case *c)
{
    const struct mutant *m = c->arg;
    const struct operation *op = operations;
    char variant[40];
    struct bench s;
    while (strcmp(op->kernel, m->kernel) != 0) op++;
    snprintf(variant, sizeof variant, "mutant-%s", m->name);
    if (bench_open(&s, t, variant)) {
        enum status st = op->run(&s);
        if (m->fault[0])
            expect_fault(&s, st, m->fault, m->kernel);
        else
            test_ok(t, st, &s.e);
    }
    bench_close(&s);
    if (bench_open(&s, t, "check")) test_ok(t, op->run(&s), &s.e);
    bench_close(&s);
}

static void run_clean(struct test *t, const struct test_case *c)
{
    const struct operation *op = c->arg;
    struct bench s;
    if (bench_open(&s, t, "check")) test_ok(t, op->run(&s), &s.e);
    bench_close(&s);
}

static void run_type(struct test *t, const struct test_case *c)
{
    struct bench s;
    if (bench_open(&s, t, "check")) test_ok(t, do_type(&s, c->arg, 66), &s.e);
    bench_close(&s);
}

static void run_one_cell(struct test *t, const struct test_case *c)
{
    const struct attention_case a = {.written = 2, .visible = 1, .one_cell = true};
    struct bench s;
    (void)c;
    if (bench_open(&s, t, "check"))
        expect_fault(&s, do_attention_of(&s, &a, TYPE_F16), "race", "kv_write_f16");
    bench_close(&s);
}

static void run_unwritten_cell(struct test *t, const struct test_case *c)
{
    const struct attention_case a = {.written = 9, .visible = 10};
    struct bench s;
    (void)c;
    if (bench_open(&s, t, "check"))
        expect_fault(&s, do_attention_of(&s, &a, TYPE_F32), "uninitialised read", "attention");
    bench_close(&s);
}

static void run_id_past_end(struct test *t, const struct test_case *c)
{
    struct bench s;
    (void)c;
    if (bench_open(&s, t, "check"))
        expect_fault(&s, do_type(&s, type_by_name("q4_K"), 67), "out of bounds", "get_rows_q4_k");
    bench_close(&s);
}

/* Weights are somebody's file: nothing may be written there. */
static void run_read_only(struct test *t, const struct test_case *c)
{
    static const float zeros[4];
    struct bench s;
    struct op_scale a = {.n = 4, .factor = 1.0f};
    (void)c;
    if (bench_open(&s, t, NULL) &&
        test_ok(t, s.ops->import(s.b, zeros, sizeof zeros, &a.x.buf, &s.e), &s.e)) {
        s.buffers[s.n++] = a.x.buf;
        a.out = a.x;
        test_check(t, s.ops->scale(s.b, &a, &s.e) == ST_USAGE, "weights were written");
    }
    bench_close(&s);
}

void suite_cudasim(struct case_list *l)
{
    static const struct {
        const char *name;
        void (*run)(struct test *t, const struct test_case *c);
    } inputs[] = {{"one_cell", run_one_cell},
                  {"unwritten_cell", run_unwritten_cell},
                  {"id_past_end", run_id_past_end},
                  {"read_only", run_read_only}};
    struct test_case c = {.suite = "cudasim", .subject = "cuda-sim", .quick = true};
    for (size_t i = 0; i < N_MUTANTS; i++) {
        c.op = "mutant", c.shape = mutants[i].name, c.arg = &mutants[i], c.run = run_mutant;
        case_add(l, &c);
    }
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        c.op = "input", c.shape = inputs[i].name, c.arg = NULL, c.run = inputs[i].run;
        case_add(l, &c);
    }
    for (size_t i = 0; i < N_OPERATIONS; i++) {
        c.op = "clean", c.shape = operations[i].kernel, c.arg = &operations[i], c.run = run_clean;
        case_add(l, &c);
    }
    c.quick = false;
    for (const struct type_spec *t = type_next(NULL); t; t = type_next(t)) {
        if (!type_decodes(t)) continue;
        c.op = "clean", c.type = t->name, c.shape = NULL, c.arg = t, c.run = run_type;
        case_add(l, &c);
    }
    cudasim_paths_cases(l);
    cudasim_driver_cases(l);
}
