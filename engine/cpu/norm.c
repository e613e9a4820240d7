/* rms_norm and layer_norm: sums in double, eight lanes folded in one order, so that no square
 * overflows. */
#include "engine/cpu/cpu.h"

#include <math.h>

enum { SUMS = 8 };

struct job {
    const float *x, *w, *b; /* (rows, n), (w_rows, n), (w_rows, n) or NULL */
    float *out;
    size_t n, w_rows;
    double eps;
};

static inline double fold(const double s[SUMS])
{
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static double sum_values(const float *x, size_t n)
{
    double s[SUMS] = {0};
    size_t i = 0;
    for (; i + SUMS <= n; i += SUMS) {
        for (size_t k = 0; k < SUMS; k++) s[k] += (double)x[i + k];
    }
    for (size_t k = 0; i < n; i++, k++) s[k] += (double)x[i];
    return fold(s);
}

/* Of the distances from middle. */
static double sum_squares(const float *x, size_t n, double middle)
{
    double s[SUMS] = {0};
    size_t i = 0;
    for (; i + SUMS <= n; i += SUMS) {
        for (size_t k = 0; k < SUMS; k++) {
            double d = (double)x[i + k] - middle;
            s[k] += d * d;
        }
    }
    for (size_t k = 0; i < n; i++, k++) {
        double d = (double)x[i] - middle;
        s[k] += d * d;
    }
    return fold(s);
}

static void norm_row(const struct job *j, size_t row, double middle)
{
    const float *x = j->x + row * j->n, *w = j->w + row % j->w_rows * j->n;
    float *out = j->out + row * j->n;
    double r = 1.0 / sqrt(sum_squares(x, j->n, middle) / (double)j->n + j->eps);
    if (j->b) {
        const float *b = j->b + row % j->w_rows * j->n;
        for (size_t i = 0; i < j->n; i++) out[i] = (float)((x[i] - middle) * r * w[i] + b[i]);
    } else {
        for (size_t i = 0; i < j->n; i++) out[i] = (float)((x[i] - middle) * r * w[i]);
    }
}

static void rms_norm(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    for (size_t row = begin; row < end; row++) norm_row(ctx, row, 0.0);
}

static void layer_norm(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    (void)thread;
    for (size_t row = begin; row < end; row++) {
        norm_row(j, row, sum_values(j->x + row * j->n, j->n) / (double)j->n);
    }
}

static enum status normalise(struct cpu *c, const struct op_norm *a, const char *op,
                             void (*fn)(void *ctx, size_t begin, size_t end, int thread))
{
    size_t total = (size_t)a->rows * a->n, w_rows = a->w_rows > 1 ? a->w_rows : 1;
    struct job j = {.x = cpu_floats(a->x, total),
                    .w = cpu_floats(a->w, w_rows * a->n),
                    .b = a->b.buf ? cpu_floats(a->b, w_rows * a->n) : NULL,
                    .out = cpu_floats(a->out, total),
                    .n = a->n,
                    .w_rows = w_rows,
                    .eps = (double)a->eps};
    pool_run(c->pool, a->rows, cpu_grain(a->n), fn, &j);
    cpu_count(c, op, NULL, NULL);
    return ST_OK;
}

enum status cpu_rms_norm(struct backend *b, const struct op_norm *a, struct err *e)
{
    (void)e;
    return normalise(cpu_of(b), a, "rms_norm", rms_norm);
}

enum status cpu_layer_norm(struct backend *b, const struct op_norm *a, struct err *e)
{
    (void)e;
    return normalise(cpu_of(b), a, "layer_norm", layer_norm);
}
