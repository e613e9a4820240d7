/* The suite of far addresses: rows of a matrix of more than 2^32 bytes, on backends that read
 * weights in place. Only the rows that are looked up have memory behind them. */
#include "compare.h"
#include "subject.h"

#include <string.h>
#include <sys/mman.h>

enum { ROW = 8192, N_ROWS = 140000, N_IDS = 6 };

/* Row 65536 begins at byte 2^31, row 131072 at byte 2^32. */
static const int32_t ids[N_IDS] = {0, 139999, 65535, 65536, 131072, 131071};

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

static void run_far(struct test *t, const struct test_case *c)
{
    const struct subject *s;
    struct err e = {0};
    if (!test_ok(t, subject_open(&s, c->subject, &e), &e)) return;
    if (!s->backend || !reads_in_place(t, s->backend)) {
        test_skip(t, "%s copies weights: more than 4 GiB of them would be needed", c->subject);
        return;
    }
    size_t bytes = sizeof(float) * ROW * N_ROWS;
    float *w = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (w == MAP_FAILED) {
        test_skip(t, "no %zu bytes of address space", bytes);
        return;
    }
    float *got = test_alloc(t, (size_t)ROW * N_IDS, sizeof *got);
    float *want = test_alloc(t, (size_t)ROW * N_IDS, sizeof *want);
    for (size_t i = 0; got && want && i < N_IDS; i++)
        for (size_t k = 0; k < ROW; k++) {
            w[(size_t)ids[i] * ROW + k] = want[i * ROW + k] = value_at((size_t)ids[i], k);
            got[i * ROW + k] = -1;
        }
    if (got && want && test_ok(t, look_up(s->backend, w, got, &e), &e))
        compare_bits(&t->result, got, want, N_IDS, ROW);
    munmap(w, bytes);
}

void suite_far(struct case_list *l)
{
    char name[SUBJECT_NAME];
    for (size_t i = 0; subject_name_at(l->options->subjects, i, name, sizeof name); i++) {
        struct test_case c = {.suite = "far",
                              .op = "get_rows",
                              .type = "f32",
                              .shape = "140000x8192",
                              .subject = case_text(l, "%s", name),
                              .run = run_far};
        if (strcmp(name, "reference") != 0) case_add(l, &c);
    }
}
