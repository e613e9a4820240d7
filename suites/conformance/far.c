/* The suite of far addresses: rows of a matrix of more than 2^32 bytes, and the same as matrices of
 * experts, on backends that read weights in place. Only the rows that are used have memory behind
 * them. */
#include "conformance/conformance.h"
#include "judge/compare.h"
#include "subject/subject.h"

#include <string.h>
#include <sys/mman.h>

enum { ROW = 8192, N_ROWS = 140000, N_IDS = 6 };

/* Row 65536 begins at byte 2^31, row 131072 at byte 2^32. */
static const int32_t ids[N_IDS] = {0, 139999, 65535, 65536, 131072, 131071};

/* The matrix as experts; the two in the middle lie across those bytes. One token chooses them
 * all. */
enum { EXPERT_ROWS = 7, N_EXPERTS = N_ROWS / EXPERT_ROWS, N_USED = 4, COLUMN = 5000 };
static const int32_t experts[N_USED] = {0, 19999, 9362, 18724};

static float value_at(size_t row, size_t col)
{
    return (float)(row * 3 + col % 1021);
}

/* True if what is imported is not copied: a change in host memory is seen by the next download. */
static bool reads_in_place(struct test *t, struct backend *b)
{
    const struct backend_ops *ops = backend_ops_of(b);
    struct err e = {0};
    struct dbuf *buf = NULL;
    float host[16] = {0}, seen[16] = {0};
    enum status st = ops->import(b, host, sizeof host, &buf, &e);
    *(volatile float *)host = 1;
    if (st == ST_OK) st = ops->download(b, seen, (struct view){buf, 0}, sizeof seen, &e);
    ops->release(b, buf);
    return test_ok(t, st, &e) && seen[0] == 1;
}

static enum status look_up(struct backend *b, const float *w, float *got, struct err *e)
{
    const struct backend_ops *ops = backend_ops_of(b);
    struct dbuf *weights = NULL, *which = NULL, *out = NULL;
    size_t bytes = sizeof(float) * ROW * N_IDS;
    enum status st = ops->import(b, w, sizeof(float) * ROW * N_ROWS, &weights, e);
    if (st == ST_OK) st = ops->alloc(b, sizeof ids, &which, e);
    if (st == ST_OK) st = ops->alloc(b, bytes, &out, e);
    if (st == ST_OK) st = ops->upload(b, (struct view){which, 0}, ids, sizeof ids, e);
    if (st == ST_OK) st = ops->upload(b, (struct view){out, 0}, got, bytes, e);
    struct op_get_rows a = {
        .w = {{weights, 0}, TYPE_F32, ROW, N_ROWS}, .ids = {which, 0}, .out = {out, 0}, .n = N_IDS};
    if (st == ST_OK) st = ops->get_rows(b, &a, e);
    if (st == ST_OK) st = ops->download(b, got, (struct view){out, 0}, bytes, e);
    ops->release(b, weights);
    ops->release(b, which);
    ops->release(b, out);
    return st;
}

/* out (N_USED, EXPERT_ROWS) = the experts' weights of column COLUMN. */
static enum status multiply(struct backend *b, const float *w, const float *x, float *got,
                            struct err *e)
{
    const struct backend_ops *ops = backend_ops_of(b);
    struct dbuf *weights = NULL, *which = NULL, *in = NULL, *out = NULL;
    size_t bytes = sizeof(float) * N_USED * EXPERT_ROWS;
    enum status st = ops->import(b, w, sizeof(float) * ROW * N_ROWS, &weights, e);
    if (st == ST_OK) st = ops->alloc(b, sizeof experts, &which, e);
    if (st == ST_OK) st = ops->alloc(b, sizeof(float) * ROW, &in, e);
    if (st == ST_OK) st = ops->alloc(b, bytes, &out, e);
    if (st == ST_OK) st = ops->upload(b, (struct view){which, 0}, experts, sizeof experts, e);
    if (st == ST_OK) st = ops->upload(b, (struct view){in, 0}, x, sizeof(float) * ROW, e);
    if (st == ST_OK) st = ops->upload(b, (struct view){out, 0}, got, bytes, e);
    struct op_matmul_id a = {.w = {{weights, 0}, TYPE_F32, ROW, EXPERT_ROWS},
                             .x = {in, 0},
                             .ids = {which, 0},
                             .out = {out, 0},
                             .n_tokens = 1,
                             .n_used = N_USED,
                             .n_experts = N_EXPERTS};
    if (st == ST_OK) st = ops->matmul_id(b, &a, e);
    if (st == ST_OK) st = ops->download(b, got, (struct view){out, 0}, bytes, e);
    ops->release(b, weights);
    ops->release(b, which);
    ops->release(b, in);
    ops->release(b, out);
    return st;
}

static void far_rows(struct test *t, struct backend *b, float *w)
{
    struct err e = {0};
    float *got = test_alloc(t, (size_t)ROW * N_IDS, sizeof *got);
    float *want = test_alloc(t, (size_t)ROW * N_IDS, sizeof *want);
    for (size_t i = 0; got && want && i < N_IDS; i++)
        for (size_t k = 0; k < ROW; k++) {
            w[(size_t)ids[i] * ROW + k] = want[i * ROW + k] = value_at((size_t)ids[i], k);
            got[i * ROW + k] = -1;
        }
    if (got && want && test_ok(t, look_up(b, w, got, &e), &e))
        compare_bits(&t->result, got, want, N_IDS, ROW);
}

/* x has a single 1: the sums have one term each, and are exact. */
static void far_experts(struct test *t, struct backend *b, float *w)
{
    struct err e = {0};
    float *x = test_alloc(t, ROW, sizeof *x), got[N_USED * EXPERT_ROWS], want[N_USED * EXPERT_ROWS];
    if (!x) return;
    x[COLUMN] = 1;
    for (size_t i = 0; i < N_USED * EXPERT_ROWS; i++) {
        const size_t row = (size_t)experts[i / EXPERT_ROWS] * EXPERT_ROWS + i % EXPERT_ROWS;
        for (size_t k = 0; k < ROW; k++) w[row * ROW + k] = value_at(row, k);
        want[i] = value_at(row, COLUMN);
        got[i] = -1;
    }
    if (test_ok(t, multiply(b, w, x, got, &e), &e))
        compare_bits(&t->result, got, want, N_USED, EXPERT_ROWS);
}

static void run_far(struct test *t, const struct test_case *c)
{
    const struct subject *s;
    struct err e = {0};
    const bool products = c->index == OP_matmul_id;
    if (!test_ok(t, subject_open(&s, c->subject, &e), &e)) return;
    if (!s->backend || !reads_in_place(t, s->backend)) {
        test_skip(t, "%s copies weights: more than 4 GiB of them would be needed", c->subject);
        return;
    }
    if (products && !backend_ops_of(s->backend)->matmul_id) {
        test_skip(t, "%s does not support matmul_id", c->subject);
        return;
    }
    size_t bytes = sizeof(float) * ROW * N_ROWS;
    float *w = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (w == MAP_FAILED) {
        test_skip(t, "no %zu bytes of address space", bytes);
        return;
    }
    (products ? far_experts : far_rows)(t, s->backend, w);
    munmap(w, bytes);
}

void suite_far(struct case_list *l)
{
    static const struct {
        enum op op;
        const char *shape;
    } kinds[] = {{OP_get_rows, "140000x8192"}, {OP_matmul_id, "20000x7x8192"}};
    char name[SUBJECT_NAME];
    for (size_t i = 0; subject_name_at(l->options->subjects, i, name, sizeof name); i++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            struct test_case c = {.suite = "far",
                                  .op = op_table[kinds[k].op].name,
                                  .type = "f32",
                                  .shape = kinds[k].shape,
                                  .subject = case_text(l, "%s", name),
                                  .run = run_far,
                                  .index = kinds[k].op};
            if (strcmp(name, "reference") != 0) case_add(l, &c);
        }
}
