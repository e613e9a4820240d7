/* Operations on single values: activations, their products, add, scale, softcap. */
#include "engine/cpu/cpu.h"
#include "engine/cpu/exp.h"

struct job {
    const float *a, *b;
    float *out;
    float factor;
};

/* Values per share of a thread at least: less is not worth waking one. */
enum { GRAIN = 4096 };

#define LOOP(name, value)                                                                          \
    static void name##_range(void *ctx, size_t begin, size_t end, int thread)                      \
    {                                                                                              \
        const struct job *j = ctx;                                                                 \
        const float *a = j->a, *b = j->b;                                                          \
        float *out = j->out, factor = j->factor;                                                   \
        (void)thread;                                                                              \
        (void)b;                                                                                   \
        (void)factor;                                                                              \
        for (size_t i = begin; i < end; i++) out[i] = (value);                                     \
    }

LOOP(silu, (float)silu_wide(a[i]))
LOOP(gelu, (float)gelu_wide(a[i]))
LOOP(gelu_erf, (float)gelu_erf_wide(a[i]))
LOOP(sigmoid, (float)sigmoid_wide(a[i]))
LOOP(softcap, (float)softcap_wide(a[i], factor))
LOOP(silu_mul, (float)(silu_wide(a[i]) * b[i]))
LOOP(gelu_mul, (float)(gelu_wide(a[i]) * b[i]))
LOOP(gelu_erf_mul, (float)(gelu_erf_wide(a[i]) * b[i]))
LOOP(swiglu_oai, (float)swiglu_oai_wide(a[i], b[i]))
LOOP(add, a[i] + b[i])
LOOP(scale, factor *a[i])

#define UNARY(name)                                                                                \
    enum status cpu_##name(struct backend *b, const struct op_unary *a, struct err *e)             \
    {                                                                                              \
        struct job j = {.a = cpu_floats(a->x, a->n), .out = cpu_floats(a->out, a->n)};             \
        (void)e;                                                                                   \
        pool_run(cpu_of(b)->pool, a->n, GRAIN, name##_range, &j);                                  \
        cpu_count(cpu_of(b), #name, NULL, NULL);                                                   \
        return ST_OK;                                                                              \
    }

#define BINARY(name)                                                                               \
    enum status cpu_##name(struct backend *b, const struct op_binary *a, struct err *e)            \
    {                                                                                              \
        struct job j = {cpu_floats(a->a, a->n), cpu_floats(a->b, a->n), cpu_floats(a->out, a->n),  \
                        0.0f};                                                                     \
        (void)e;                                                                                   \
        pool_run(cpu_of(b)->pool, a->n, GRAIN, name##_range, &j);                                  \
        cpu_count(cpu_of(b), #name, NULL, NULL);                                                   \
        return ST_OK;                                                                              \
    }

#define FACTOR(name)                                                                               \
    enum status cpu_##name(struct backend *b, const struct op_scale *a, struct err *e)             \
    {                                                                                              \
        struct job j = {cpu_floats(a->x, a->n), NULL, cpu_floats(a->out, a->n), a->factor};        \
        (void)e;                                                                                   \
        pool_run(cpu_of(b)->pool, a->n, GRAIN, name##_range, &j);                                  \
        cpu_count(cpu_of(b), #name, NULL, NULL);                                                   \
        return ST_OK;                                                                              \
    }

UNARY(silu)
UNARY(gelu)
UNARY(gelu_erf)
UNARY(sigmoid)
BINARY(silu_mul)
BINARY(gelu_mul)
BINARY(gelu_erf_mul)
BINARY(swiglu_oai)
BINARY(add)
FACTOR(scale)
FACTOR(softcap)
