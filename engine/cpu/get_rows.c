/* get_rows: rows of a weight matrix by index, decoded (embedding lookup). */
#include "engine/cpu/cpu.h"

struct job {
    const struct cpu_type *type;
    const uint8_t *w;
    const int32_t *ids;
    float *out;
    size_t n_in, row_bytes;
};

static void get_rows(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const uint8_t *row = j->w + (size_t)j->ids[i] * j->row_bytes;
        j->type->decode(row, j->n_in, j->out + i * j->n_in);
    }
}

enum status cpu_get_rows(struct backend *b, const struct op_get_rows *a, struct err *e)
{
    struct cpu *c = cpu_of(b);
    struct job j = {.n_in = a->w.n_in};
    enum status st = cpu_type_of(&j.type, a->w.type, "get_rows", e);
    if (st != ST_OK) return st;
    j.row_bytes = type_bytes(type_by_id(a->w.type), a->w.n_in);
    j.w = cpu_at(a->w.at, j.row_bytes * a->w.n_out);
    j.ids = cpu_ints(a->ids, a->n);
    j.out = cpu_floats(a->out, (size_t)a->n * a->w.n_in);
    pool_run(c->pool, a->n, 1, get_rows, &j);
    cpu_count(c, "get_rows", j.type->name, NULL);
    return ST_OK;
}
