/* rms_norm: sums in double, eight lanes folded in one order, so that no square overflows. */
#include "cpu/cpu.h"

#include <math.h>

enum { SUMS = 8 };

struct job {
    const float *x, *w;
    float *out;
    size_t n;
    double eps;
};

static double sum_squares(const float *x, size_t n)
{
    double s[SUMS] = {0};
    size_t i = 0;
    for (; i + SUMS <= n; i += SUMS) {
        for (size_t k = 0; k < SUMS; k++) s[k] += (double)x[i + k] * x[i + k];
    }
    for (size_t k = 0; i < n; i++, k++) s[k] += (double)x[i] * x[i];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static void rms_norm(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    (void)thread;
    for (size_t row = begin; row < end; row++) {
        const float *x = j->x + row * j->n, *w = j->w;
        float *out = j->out + row * j->n;
        double r = 1.0 / sqrt(sum_squares(x, j->n) / (double)j->n + j->eps);
        for (size_t i = 0; i < j->n; i++) out[i] = (float)(x[i] * r * w[i]);
    }
}

enum status cpu_rms_norm(struct backend *b, const struct op_norm *a, struct err *e)
{
    struct cpu *c = cpu_of(b);
    size_t total = (size_t)a->rows * a->n;
    struct job j = {cpu_floats(a->x, total), cpu_floats(a->w, a->n), cpu_floats(a->out, total),
                    a->n, (double)a->eps};
    (void)e;
    pool_run(c->pool, a->rows, 1, rms_norm, &j);
    cpu_count(c, "rms_norm", NULL, NULL);
    return ST_OK;
}
