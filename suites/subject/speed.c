/* Measuring speed; see bench.h. */
#include "subject/speed.h"

#include <math.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Between the two samples that a position falls between. */
static double at_share(const struct samples *s, double share)
{
    const double at = share * (double)(s->n - 1), below = floor(at);
    const size_t i = (size_t)below, k = i + 1 < s->n ? i + 1 : i;
    return s->value[i] + (at - below) * (s->value[k] - s->value[i]);
}

void bench_summarize(struct samples *s, double *median, double *spread)
{
    *median = *spread = 0;
    if (s->n == 0) return;
    qsort(s->value, s->n, sizeof *s->value, by_value);
    *median = at_share(s, 0.5);
    *spread = (at_share(s, 0.75) - at_share(s, 0.25)) / 2;
}

#define HOST_BYTES   ((size_t)256 << 20)
#define DEVICE_BYTES ((size_t)64 << 20)
enum { ROUNDS = 5 };

struct reading {
    const uint64_t *words;
    uint64_t *sums; /* one per piece, so that nothing is read in vain */
    size_t piece;
};

static void read_pieces(void *ctx, size_t begin, size_t end, int thread)
{
    const struct reading *r = ctx;
    (void)thread;
    for (size_t p = begin; p < end; p++) {
        uint64_t sum = 0;
        for (size_t i = 0; i < r->piece; i++) sum += r->words[p * r->piece + i];
        r->sums[p] = sum;
    }
}

enum status bench_host_read(int n_threads, double *out, struct err *e)
{
    const size_t n = HOST_BYTES / sizeof(uint64_t), pieces = 1024;
    struct reading r = {.sums = alloc_array(pieces, sizeof *r.sums), .piece = n / pieces};
    uint64_t *words = alloc_array(n, sizeof *words);
    struct pool *pool = NULL;
    enum status st = r.sums && words ? pool_open(&pool, n_threads, e)
                                     : fail(e, ST_NOMEM, "out of memory measuring memory");
    *out = 0;
    if (st == ST_OK) {
        for (size_t i = 0; i < n; i++) words[i] = i; /* pages of its own, not the one of zeros */
        r.words = words;
        for (int round = 0; round < ROUNDS; round++) {
            const double from = now_seconds();
            pool_run(pool, pieces, 1, read_pieces, &r);
            const double rate = (double)HOST_BYTES / (now_seconds() - from);
            if (rate > *out) *out = rate;
        }
    }
    if (pool) pool_close(pool);
    free(words);
    free(r.sums);
    return st;
}

enum status bench_device_copy(struct backend *b, double *out, struct err *e)
{
    const struct backend_ops *ops = backend_ops_of(b);
    struct dbuf *x = NULL, *y = NULL;
    *out = 0;
    enum status st = ops->alloc(b, DEVICE_BYTES, &x, e);
    if (st == ST_OK) st = ops->alloc(b, DEVICE_BYTES, &y, e);
    const struct op_scale a = {
        .x = {x, 0}, .out = {y, 0}, .n = (uint32_t)(DEVICE_BYTES / 4), .factor = 1.0f};
    for (int round = 0; round <= ROUNDS && st == ST_OK; round++) {
        const double from = now_seconds();
        st = ops->scale(b, &a, e);
        if (st == ST_OK) st = ops->flush(b, e);
        const double rate = 2.0 * (double)DEVICE_BYTES / (now_seconds() - from);
        if (round > 0 && rate > *out) *out = rate; /* the first makes the kernel */
    }
    ops->release(b, x);
    ops->release(b, y);
    return st;
}
