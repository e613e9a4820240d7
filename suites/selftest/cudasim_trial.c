/* Devices and buffers for the suite of cuda-sim. */
#include "selftest/cudasim_trial.h"
#include "harness/random.h"

#include <stdio.h>

bool cudasim_open(struct cudasim_trial *s, struct test *t, const char *variant)
{
    const struct backend_options o = {.variant = variant};
    *s = (struct cudasim_trial){.t = t, .ops = backend_by_name("cuda-sim"), .rng = rng_of(t)};
    if (!s->ops) {
        test_skip(t, "cuda-sim is not in this build");
        return false;
    }
    s->ok = test_ok(t, s->ops->open(&s->b, &o, &s->e), &s->e);
    return s->ok;
}

void cudasim_close(struct cudasim_trial *s)
{
    struct backend_stats stats = {0};
    if (!s->b) return;
    s->ops->stats(s->b, &stats);
    s->t->result.dispatches = stats.dispatches;
    snprintf(s->t->result.variant, sizeof s->t->result.variant, "%s", stats.variant);
    for (size_t i = 0; i < s->n; i++) s->ops->release(s->b, s->buffers[i]);
    s->ops->close(s->b);
}

struct view cudasim_buffer(struct cudasim_trial *s, const void *data, size_t bytes)
{
    struct view v = {NULL, 0};
    if (!s->ok || !test_check(s->t, s->n < CUDASIM_BUFFERS, "too many buffers")) {
        s->ok = false;
        return v;
    }
    s->ok = test_ok(s->t, s->ops->alloc(s->b, bytes, &v.buf, &s->e), &s->e);
    if (!s->ok) return v;
    s->buffers[s->n++] = v.buf;
    if (data) s->ok = test_ok(s->t, s->ops->upload(s->b, v, data, bytes, &s->e), &s->e);
    return v;
}

struct view cudasim_weights(struct cudasim_trial *s, const void *data, size_t bytes)
{
    struct view v = {NULL, 0};
    if (!s->ok || !test_check(s->t, data && s->n < CUDASIM_BUFFERS, "no room for weights")) {
        s->ok = false;
        return v;
    }
    s->ok = test_ok(s->t, s->ops->import(s->b, data, bytes, &v.buf, &s->e), &s->e);
    if (s->ok) s->buffers[s->n++] = v.buf;
    return v;
}

float *cudasim_random(struct cudasim_trial *s, size_t n)
{
    float *x = test_alloc(s->t, n, sizeof *x);
    for (size_t i = 0; x && i < n; i++) x[i] = (float)rng_gauss(&s->rng);
    if (!x) s->ok = false;
    return x;
}

struct view cudasim_values(struct cudasim_trial *s, size_t n)
{
    float *x = cudasim_random(s, n);
    return cudasim_buffer(s, x, n * sizeof *x);
}

struct view cudasim_output(struct cudasim_trial *s, size_t n)
{
    return cudasim_buffer(s, NULL, n * sizeof(float));
}
