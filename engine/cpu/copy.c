/* copy: pieces of rows to other places. */
#include "engine/cpu/cpu.h"

#include <string.h>

struct job {
    const float *x;
    float *out;
    const struct op_copy *a;
};

/* unit = row * groups + group */
static void copy(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    const struct op_copy *a = j->a;
    (void)thread;
    for (size_t unit = begin; unit < end; unit++) {
        size_t r = unit / a->groups, g = unit % a->groups;
        memcpy(j->out + r * a->out_row + g * a->out_group, j->x + r * a->x_row + g * a->x_group,
               a->n * sizeof *j->out);
    }
}

/* Values from the first to the last one that strides reach. */
static size_t reach(const struct op_copy *a, uint32_t row, uint32_t group)
{
    return (size_t)(a->rows - 1) * row + (size_t)(a->groups - 1) * group + a->n;
}

enum status cpu_copy(struct backend *b, const struct op_copy *a, struct err *e)
{
    struct cpu *c = cpu_of(b);
    (void)e;
    if (a->rows > 0 && a->groups > 0) {
        struct job j = {cpu_floats(a->x, reach(a, a->x_row, a->x_group)),
                        cpu_floats(a->out, reach(a, a->out_row, a->out_group)), a};
        pool_run(c->pool, (size_t)a->rows * a->groups, cpu_grain(a->n), copy, &j);
    }
    cpu_count(c, "copy", NULL, NULL);
    return ST_OK;
}
