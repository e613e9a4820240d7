/* rope: rotation of pairs by angles from the host's table. */
#include "engine/cpu/cpu.h"

struct job {
    float *x;           /* (n_tokens, n_heads, head_dim) */
    const float *table; /* (n_tokens, n_dims/2, 2) */
    const struct op_rope *a;
};

static void rope(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    const struct op_rope *a = j->a;
    size_t pairs = a->n_dims / 2;
    size_t next = a->pairing == ROPE_NEOX ? 1 : 2, apart = a->pairing == ROPE_NEOX ? pairs : 1;
    (void)thread;
    for (size_t t = begin; t < end; t++) {
        const float *angles = j->table + t * 2 * pairs;
        for (size_t h = 0; h < a->n_heads; h++) {
            float *x = j->x + (t * a->n_heads + h) * a->head_dim + a->first;
            for (size_t p = 0; p < pairs; p++) {
                float cosine = angles[2 * p], sine = angles[2 * p + 1];
                float u = x[next * p], v = x[next * p + apart];
                x[next * p] = u * cosine - v * sine;
                x[next * p + apart] = u * sine + v * cosine;
            }
        }
    }
}

enum status cpu_rope(struct backend *b, const struct op_rope *a, struct err *e)
{
    struct cpu *c = cpu_of(b);
    (void)e;
    struct job j = {cpu_floats(a->x, (size_t)a->n_tokens * a->n_heads * a->head_dim),
                    cpu_floats(a->table, (size_t)a->n_tokens * (a->n_dims / 2) * 2), a};
    pool_run(c->pool, a->n_tokens, cpu_grain((size_t)a->n_heads * a->n_dims), rope, &j);
    cpu_count(c, "rope", NULL, a->pairing == ROPE_NEOX ? "neox" : "norm");
    return ST_OK;
}
