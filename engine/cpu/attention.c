/* attention, attn_scores, attn_mix: one (token, head) at a time. A cell that the query does not see
 * takes part in no arithmetic. */
#include "cpu/cpu.h"
#include "cpu/simd.h"

#include <math.h>
#include <string.h>

struct job {
    const struct cpu *cpu;
    const struct op_attention *a;
    const float *q;
    const uint8_t *k, *v;
    const int32_t *pos, *cell_pos;
    float *probs, *out;
    size_t k_row_bytes, v_row_bytes; /* of one head of one cell */
};

static inline bool sees(const struct job *j, size_t token, size_t cell)
{
    return j->cell_pos[cell] >= 0 && j->cell_pos[cell] <= j->pos[token];
}

/* Which head of the cache: its index in (n_cells, n_kv_heads). */
static inline size_t cache_row(const struct op_attention *a, size_t cell, size_t head)
{
    return cell * a->n_kv_heads + head / (a->n_heads / a->n_kv_heads);
}

/* unit = token * n_heads + head, in all three. buf: head_dim floats. */
static void scores_of(const struct job *j, size_t unit, float *scores, float *buf)
{
    const struct op_attention *a = j->a;
    size_t token = unit / a->n_heads, head = unit % a->n_heads;
    const float *q = j->q + unit * a->head_dim;
    for (size_t cell = 0; cell < a->n_cells; cell++) {
        scores[cell] = -INFINITY;
        if (!sees(j, token, cell)) continue;
        const uint8_t *row = j->k + cache_row(a, cell, head) * j->k_row_bytes;
        const float *k = cpu_row(a->k_type, row, a->head_dim, buf);
        scores[cell] = a->scale * cpu_dot(q, k, a->head_dim);
    }
}

static void mix_of(const struct job *j, size_t unit, const float *probs, float *buf)
{
    const struct op_attention *a = j->a;
    size_t token = unit / a->n_heads, head = unit % a->n_heads;
    float *out = j->out + unit * a->head_dim;
    memset(out, 0, a->head_dim * sizeof *out);
    for (size_t cell = 0; cell < a->n_cells; cell++) {
        if (!sees(j, token, cell)) continue;
        const uint8_t *row = j->v + cache_row(a, cell, head) * j->v_row_bytes;
        const float *v = cpu_row(a->v_type, row, a->head_dim, buf);
        float p = probs[cell];
        for (size_t d = 0; d < a->head_dim; d++) out[d] = madd(p, v[d], out[d]);
    }
}

static void run_scores(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    float *buf = cpu_scratch_of(j->cpu, thread);
    for (size_t unit = begin; unit < end; unit++) {
        scores_of(j, unit, j->probs + unit * j->a->n_cells, buf);
    }
}

static void run_mix(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    float *buf = cpu_scratch_of(j->cpu, thread);
    for (size_t unit = begin; unit < end; unit++) {
        mix_of(j, unit, j->probs + unit * j->a->n_cells, buf);
    }
}

static void run_attention(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    float *buf = cpu_scratch_of(j->cpu, thread), *scores = buf + j->a->head_dim;
    for (size_t unit = begin; unit < end; unit++) {
        scores_of(j, unit, scores, buf);
        cpu_softmax_row(scores, scores, j->a->n_cells);
        mix_of(j, unit, scores, buf);
    }
}

enum part { SCORES = 1, MIX = 2 };

static enum status attend(struct cpu *c, const struct op_attention *a, unsigned parts,
                          const char *op, struct err *e)
{
    const struct cpu_type *type = NULL;
    struct job j = {.cpu = c, .a = a};
    size_t units = (size_t)a->n_tokens * a->n_heads, q_size = units * a->head_dim;
    size_t cache = (size_t)a->n_cells * a->n_kv_heads;
    enum status st = cpu_scratch(c, (size_t)a->head_dim + a->n_cells, e);
    if (st == ST_OK && parts & SCORES) st = cpu_type_of(&type, a->k_type, op, e);
    if (st == ST_OK && parts & MIX) st = cpu_type_of(&type, a->v_type, op, e);
    if (st != ST_OK) return st;
    j.pos = cpu_ints(a->pos, a->n_tokens);
    j.cell_pos = cpu_ints(a->cell_pos, a->n_cells);
    if (parts & SCORES) {
        j.k_row_bytes = type_bytes(type_by_id(a->k_type), a->head_dim);
        j.q = cpu_floats(a->q, q_size);
        j.k = cpu_at(a->k, cache * j.k_row_bytes);
    }
    if (parts & MIX) {
        j.v_row_bytes = type_bytes(type_by_id(a->v_type), a->head_dim);
        j.v = cpu_at(a->v, cache * j.v_row_bytes);
        j.out = cpu_floats(a->out, q_size);
    }
    if (parts != (SCORES | MIX)) j.probs = cpu_floats(a->probs, units * a->n_cells);
    pool_run(c->pool, units, 1,
             parts == SCORES ? run_scores
             : parts == MIX  ? run_mix
                             : run_attention,
             &j);
    cpu_count(c, op, type->name, NULL);
    return ST_OK;
}

enum status cpu_attention(struct backend *b, const struct op_attention *a, struct err *e)
{
    return attend(cpu_of(b), a, SCORES | MIX, "attention", e);
}

enum status cpu_attn_scores(struct backend *b, const struct op_attention *a, struct err *e)
{
    return attend(cpu_of(b), a, SCORES, "attn_scores", e);
}

enum status cpu_attn_mix(struct backend *b, const struct op_attention *a, struct err *e)
{
    return attend(cpu_of(b), a, MIX, "attn_mix", e);
}
