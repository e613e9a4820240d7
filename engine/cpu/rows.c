/* Operations on whole rows: softmax, argmax, scale_rows. */
#include "engine/cpu/cpu.h"
#include "engine/cpu/exp.h"
#include "engine/cpu/simd.h"

#include <math.h>

struct job {
    const float *x, *more; /* (rows, n); sinks or NULL, or factors */
    void *out;
    size_t n, n_sinks;
};

/* Largest value, NaN passed over; -inf if there is none. */
static float largest(const float *x, size_t n)
{
    float m[LANES], best = -INFINITY;
    size_t i = 0;
    for (size_t k = 0; k < LANES; k++) m[k] = -INFINITY;
    for (; i + LANES <= n; i += LANES) {
        for (size_t k = 0; k < LANES; k++) m[k] = x[i + k] > m[k] ? x[i + k] : m[k];
    }
    for (; i < n; i++) best = x[i] > best ? x[i] : best;
    for (size_t k = 0; k < LANES; k++) best = m[k] > best ? m[k] : best;
    return best;
}

static double sum_all(const float *x, size_t n)
{
    double s[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (size_t k = 0; k < 8; k++) s[k] += x[i + k];
    }
    for (size_t k = 0; i < n; i++, k++) s[k] += x[i];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

void cpu_softmax_row(const float *x, float *out, size_t n, const float *sink)
{
    float max = largest(x, n);
    if (sink && *sink > max) max = *sink;
    double base = max == -INFINITY ? 0.0 : max; /* then each term is 0, or NaN */
    for (size_t i = 0; i < n; i++) out[i] = (float)exp_wide(x[i] - base);
    double sum = sum_all(out, n);
    if (sink) sum += (double)(float)exp_wide(*sink - base);
    double factor = sum == 0.0 ? 0.0 : 1.0 / sum;
    for (size_t i = 0; i < n; i++) out[i] = (float)(out[i] * factor);
}

static void softmax(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    (void)thread;
    for (size_t r = begin; r < end; r++) {
        cpu_softmax_row(j->x + r * j->n, (float *)j->out + r * j->n, j->n,
                        j->more ? j->more + r % j->n_sinks : NULL);
    }
}

static void argmax(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    (void)thread;
    for (size_t r = begin; r < end; r++) {
        const float *x = j->x + r * j->n;
        float best = largest(x, j->n);
        size_t i = 0;
        while (i < j->n && !(x[i] == best)) i++;
        ((int32_t *)j->out)[r] = i < j->n ? (int32_t)i : 0; /* not found: all are NaN */
    }
}

static void scale_rows(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    (void)thread;
    for (size_t r = begin; r < end; r++) {
        const float *x = j->x + r * j->n;
        float *out = (float *)j->out + r * j->n, factor = j->more[r];
        for (size_t i = 0; i < j->n; i++) out[i] = x[i] * factor;
    }
}

enum status cpu_softmax(struct backend *b, const struct op_softmax *a, struct err *e)
{
    struct cpu *c = cpu_of(b);
    size_t total = (size_t)a->rows * a->n;
    struct job j = {.x = cpu_floats(a->x, total),
                    .more = a->sinks.buf ? cpu_floats(a->sinks, a->n_sinks) : NULL,
                    .out = cpu_floats(a->out, total),
                    .n = a->n,
                    .n_sinks = a->n_sinks};
    (void)e;
    pool_run(c->pool, a->rows, cpu_grain(a->n), softmax, &j);
    cpu_count(c, "softmax", NULL, NULL);
    return ST_OK;
}

enum status cpu_argmax(struct backend *b, const struct op_rows *a, struct err *e)
{
    struct cpu *c = cpu_of(b);
    struct job j = {
        .x = cpu_floats(a->x, (size_t)a->rows * a->n), .out = cpu_ints(a->out, a->rows), .n = a->n};
    (void)e;
    pool_run(c->pool, a->rows, cpu_grain(a->n), argmax, &j);
    cpu_count(c, "argmax", NULL, NULL);
    return ST_OK;
}

enum status cpu_scale_rows(struct backend *b, const struct op_scale_rows *a, struct err *e)
{
    struct cpu *c = cpu_of(b);
    size_t total = (size_t)a->rows * a->n;
    struct job j = {.x = cpu_floats(a->x, total),
                    .more = cpu_floats(a->factors, a->rows),
                    .out = cpu_floats(a->out, total),
                    .n = a->n};
    (void)e;
    pool_run(c->pool, a->rows, cpu_grain(a->n), scale_rows, &j);
    cpu_count(c, "scale_rows", NULL, NULL);
    return ST_OK;
}
