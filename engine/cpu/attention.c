/* attention, attn_scores, attn_mix. A unit of work is some tokens and some query heads of one kv
 * head: a row of the cache that any of its tokens sees is decoded once for all of them. Scores are
 * kept without gaps, in the order of cells, of the cells that a token sees: hidden cells take part
 * in no arithmetic, and a token's result depends on nothing but what it sees. */
#include "engine/cpu/cpu.h"
#include "engine/cpu/exp.h"
#include "engine/cpu/simd.h"

#include <math.h>
#include <string.h>

/* Query rows of a unit at most. */
enum { ROWS = 8 };

enum part { SCORES = 1, MIX = 2 };

struct job {
    const struct cpu *cpu;
    const struct op_attention *a;
    const float *q, *sinks;
    const uint8_t *k, *v;
    const int32_t *pos, *first, *cell_pos;
    float *probs, *out;
    size_t k_row_bytes, v_row_bytes; /* of one head of one cell */
    size_t buf_floats;               /* one decoded row */
    size_t unit_tokens, unit_heads;
    unsigned parts;
};

/* Row r of a unit is token r / n_heads, head r % n_heads of it. */
struct unit {
    size_t token, n_tokens, head, n_heads, kv_head;
    size_t begin, end; /* cells outside are hidden from all its tokens */
    float *buf;
    float *scores; /* (rows, n_cells) */
};

static inline bool sees(const struct job *j, size_t token, size_t cell)
{
    int32_t at = j->cell_pos[cell];
    return at >= j->first[token] && at <= j->pos[token];
}

/* Which of the unit's tokens see the cell, a bit each. */
static inline unsigned seen_by(const struct job *j, const struct unit *u, size_t cell)
{
    unsigned bits = 0;
    for (size_t t = 0; t < u->n_tokens; t++) bits |= (unsigned)sees(j, u->token + t, cell) << t;
    return bits;
}

static inline size_t query_row(const struct job *j, const struct unit *u, size_t r)
{
    return (u->token + r / u->n_heads) * j->a->n_heads + u->head + r % u->n_heads;
}

static void find_cells(const struct job *j, struct unit *u)
{
    u->begin = 0;
    u->end = j->a->n_cells;
    while (u->begin < u->end && !seen_by(j, u, u->begin)) u->begin++;
    while (u->begin < u->end && !seen_by(j, u, u->end - 1)) u->end--;
}

/* n[t] becomes the number of cells that token t sees. */
static void scores_of(const struct job *j, const struct unit *u, size_t n[ROWS])
{
    const struct op_attention *a = j->a;
    memset(n, 0, ROWS * sizeof *n);
    for (size_t cell = u->begin; cell < u->end; cell++) {
        unsigned seen = seen_by(j, u, cell);
        if (!seen) continue;
        const uint8_t *row = j->k + (cell * a->n_kv_heads + u->kv_head) * j->k_row_bytes;
        const float *k = cpu_row(a->k_type, row, a->head_dim, u->buf), *q[ROWS];
        float *to[ROWS], dots[ROWS];
        size_t rows = 0;
        for (size_t t = 0; t < u->n_tokens; t++) {
            if (!(seen >> t & 1u)) continue;
            for (size_t h = 0; h < u->n_heads; h++, rows++) {
                size_t r = t * u->n_heads + h;
                q[rows] = j->q + query_row(j, u, r) * a->head_dim;
                to[rows] = u->scores + r * a->n_cells + n[t];
            }
            n[t]++;
        }
        cpu_dots(k, q, rows, a->head_dim, dots);
        for (size_t r = 0; r < rows; r++) *to[r] = a->scale * dots[r];
    }
}

static void cap_scores(const struct job *j, const struct unit *u, const size_t n[ROWS])
{
    double cap = (double)j->a->softcap;
    if (j->a->softcap == 0.0f) return;
    for (size_t r = 0; r < u->n_tokens * u->n_heads; r++) {
        float *scores = u->scores + r * j->a->n_cells;
        size_t count = n[r / u->n_heads];
        for (size_t i = 0; i < count; i++) scores[i] = (float)softcap_wide(scores[i], cap);
    }
}

static void normalise(const struct job *j, const struct unit *u, const size_t n[ROWS])
{
    for (size_t r = 0; r < u->n_tokens * u->n_heads; r++) {
        float *scores = u->scores + r * j->a->n_cells;
        const float *sink = j->sinks ? j->sinks + u->head + r % u->n_heads : NULL;
        cpu_softmax_row(scores, scores, n[r / u->n_heads], sink);
    }
}

/* Scores to their cells in probs, -inf to the hidden ones. */
static void spread_scores(const struct job *j, const struct unit *u)
{
    for (size_t r = 0; r < u->n_tokens * u->n_heads; r++) {
        const float *scores = u->scores + r * j->a->n_cells;
        float *probs = j->probs + query_row(j, u, r) * j->a->n_cells;
        for (size_t cell = 0; cell < j->a->n_cells; cell++) {
            probs[cell] = sees(j, u->token + r / u->n_heads, cell) ? *scores++ : -INFINITY;
        }
    }
}

/* And back, without what stands at hidden cells. */
static void collect_probs(const struct job *j, const struct unit *u)
{
    for (size_t r = 0; r < u->n_tokens * u->n_heads; r++) {
        const float *probs = j->probs + query_row(j, u, r) * j->a->n_cells;
        float *scores = u->scores + r * j->a->n_cells;
        for (size_t cell = u->begin; cell < u->end; cell++) {
            if (sees(j, u->token + r / u->n_heads, cell)) *scores++ = probs[cell];
        }
    }
}

static void mix_of(const struct job *j, const struct unit *u)
{
    const struct op_attention *a = j->a;
    size_t n[ROWS] = {0};
    for (size_t r = 0; r < u->n_tokens * u->n_heads; r++) {
        float *out = j->out + query_row(j, u, r) * a->value_dim;
        memset(out, 0, a->value_dim * sizeof *out);
    }
    for (size_t cell = u->begin; cell < u->end; cell++) {
        unsigned seen = seen_by(j, u, cell);
        if (!seen) continue;
        const uint8_t *row = j->v + (cell * a->n_kv_heads + u->kv_head) * j->v_row_bytes;
        const float *v = cpu_row(a->v_type, row, a->value_dim, u->buf);
        for (size_t r = 0; r < u->n_tokens * u->n_heads; r++) {
            size_t t = r / u->n_heads;
            if (!(seen >> t & 1u)) continue;
            float p = u->scores[r * a->n_cells + n[t]];
            float *out = j->out + query_row(j, u, r) * a->value_dim;
            for (size_t d = 0; d < a->value_dim; d++) out[d] = madd(p, v[d], out[d]);
        }
        for (size_t t = 0; t < u->n_tokens; t++) n[t] += seen >> t & 1u;
    }
}

static struct unit unit_at(const struct job *j, size_t i, float *scratch)
{
    const struct op_attention *a = j->a;
    size_t slices = a->n_heads / j->unit_heads, left;
    struct unit u = {.token = i / slices * j->unit_tokens,
                     .n_tokens = j->unit_tokens,
                     .head = i % slices * j->unit_heads,
                     .n_heads = j->unit_heads,
                     .buf = scratch,
                     .scores = scratch + j->buf_floats};
    u.kv_head = u.head / (a->n_heads / a->n_kv_heads);
    left = a->n_tokens - u.token;
    if (u.n_tokens > left) u.n_tokens = left;
    return u;
}

static void run_units(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    for (size_t i = begin; i < end; i++) {
        struct unit u = unit_at(j, i, cpu_scratch_of(j->cpu, thread));
        size_t n[ROWS];
        find_cells(j, &u);
        if (j->parts & SCORES) {
            scores_of(j, &u, n);
            cap_scores(j, &u, n);
        }
        if (j->parts == SCORES) spread_scores(j, &u);
        if (j->parts == MIX) collect_probs(j, &u);
        if (j->parts == (SCORES | MIX)) normalise(j, &u, n);
        if (j->parts & MIX) mix_of(j, &u);
    }
}

/* As many heads of a kv head as rows allow, then tokens; less if threads would have nothing. */
static size_t split(struct job *j, size_t threads)
{
    const struct op_attention *a = j->a;
    size_t group = a->n_heads / a->n_kv_heads, units;
    j->unit_heads = group < ROWS ? group : ROWS;
    while (group % j->unit_heads != 0) j->unit_heads--;
    j->unit_tokens = ROWS / j->unit_heads;
    for (;; j->unit_tokens /= 2) {
        units = (a->n_tokens + j->unit_tokens - 1) / j->unit_tokens * (a->n_heads / j->unit_heads);
        if (units >= 2 * threads || j->unit_tokens == 1) break;
    }
    if (units >= threads) return units;
    j->unit_heads = 1;
    return (size_t)a->n_tokens * a->n_heads;
}

static enum status attend(struct cpu *c, const struct op_attention *a, unsigned parts,
                          const char *op, struct err *e)
{
    const struct cpu_type *type = NULL;
    struct job j = {.cpu = c, .a = a, .parts = parts};
    size_t rows = (size_t)a->n_tokens * a->n_heads, cache = (size_t)a->n_cells * a->n_kv_heads;
    size_t units = split(&j, (size_t)pool_threads(c->pool));
    size_t unit_rows = j.unit_tokens * j.unit_heads;
    j.buf_floats = a->head_dim > a->value_dim ? a->head_dim : a->value_dim;
    enum status st = cpu_scratch(c, j.buf_floats + unit_rows * a->n_cells, e);
    if (st == ST_OK && parts & SCORES) st = cpu_type_of(&type, a->k_type, op, e);
    if (st == ST_OK && parts & MIX) st = cpu_type_of(&type, a->v_type, op, e);
    if (st != ST_OK) return st;
    j.pos = cpu_ints(a->pos, a->n_tokens);
    j.first = cpu_ints(a->first, a->n_tokens);
    j.cell_pos = cpu_ints(a->cell_pos, a->n_cells);
    if (parts & SCORES) {
        j.k_row_bytes = type_bytes(type_by_id(a->k_type), a->head_dim);
        j.q = cpu_floats(a->q, rows * a->head_dim);
        j.k = cpu_at(a->k, cache * j.k_row_bytes);
    }
    if (parts & MIX) {
        j.v_row_bytes = type_bytes(type_by_id(a->v_type), a->value_dim);
        j.v = cpu_at(a->v, cache * j.v_row_bytes);
        j.out = cpu_floats(a->out, rows * a->value_dim);
    }
    if (parts != (SCORES | MIX)) j.probs = cpu_floats(a->probs, rows * a->n_cells);
    if (a->sinks.buf && parts == (SCORES | MIX)) j.sinks = cpu_floats(a->sinks, a->n_heads);
    pool_run(c->pool, units, cpu_grain(unit_rows * a->n_cells * j.buf_floats / 4), run_units, &j);
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
