/* Cases of attention: in one piece, its scores, its sums. */
#include "conformance/ops.h"
#include "judge/bounds.h"
#include "judge/compare.h"
#include "reference/ref.h"
#include "harness/random.h"

#include <math.h>
#include <string.h>

enum { N_SEQUENCES = 3 };

/* A cache laid out as the row says; cells that no query sees hold NaN, or blocks with NaN
 * scales. */
struct scene {
    const struct op_row *row;
    size_t n_tokens, n_used, n_cells, value_dim; /* n_used: positions that are filled */
    size_t k_width, v_width, q_width, out_width;
    enum tensor_type k_type, v_type;
    float *q, *sinks;     /* sinks NULL: none */
    uint8_t *k, *v;       /* of their types */
    double *qd, *kd, *vd; /* the values that the caches hold */
    int32_t *pos, *first, *cell_pos;
    double *scores, *score_bounds, *weights, *out, *mag;
    float scale;
};

/* ---- which cell holds what ------------------------------------------------------------------- */

static size_t cells_of(const struct op_row *row, size_t used)
{
    const size_t ring = (size_t)row->window + row->rows;
    if (row->cells == CELLS_dense) return used;
    if (row->cells == CELLS_ring) return row->window && ring < used ? ring : used;
    return used + 3 + used / 8;
}

static void shuffle(int32_t *x, size_t n, struct rng *r)
{
    for (size_t i = n; i > 1; i--) {
        size_t k = rng_below(r, i);
        int32_t swap = x[i - 1];
        x[i - 1] = x[k];
        x[k] = swap;
    }
}

/* Which position each cell holds. Beyond the used ones: in turn empty, and of later positions,
 * which no query may see. A ring has been filled more than once: the latest position that falls on
 * a cell is there; one without a window has been turned. */
static void place_cells(struct scene *s, struct rng *r)
{
    const struct op_row *row = s->row;
    const size_t used = s->n_used, n = s->n_cells;
    for (size_t i = 0; i < n; i++)
        s->cell_pos[i] = (int32_t)i < (int32_t)used ? (int32_t)i : i % 2 ? -1 : (int32_t)(used + i);
    for (size_t i = 0; row->cells == CELLS_ring && i < n; i++)
        s->cell_pos[i] = (int32_t)(n < used ? i + (used - 1 - i) / n * n : (i + used / 3) % used);
    if (row->cells == CELLS_blind)
        for (size_t i = 0; i < used && i <= s->n_tokens / 2 + row->past; i++) s->cell_pos[i] = -1;
    if (row->cells != CELLS_dense && row->cells != CELLS_ring) shuffle(s->cell_pos, n, r);
}

/* Tokens are the last ones of the cache, or anywhere in sequences that lie one after the other in
 * the order of positions. */
static void place_queries(struct scene *s, struct rng *r)
{
    const struct op_row *row = s->row;
    const size_t used = s->n_used;
    for (size_t i = 0; i < s->n_tokens; i++) {
        size_t pos = row->past + i, begin = 0;
        if (row->cells == CELLS_sequences) {
            pos = rng_below(r, used);
            begin = pos * N_SEQUENCES / used; /* number of its sequence */
            begin = (begin * used + N_SEQUENCES - 1) / N_SEQUENCES;
        }
        if (row->window && pos + 1 > begin + row->window) begin = pos + 1 - row->window;
        s->pos[i] = (int32_t)pos;
        s->first[i] = (int32_t)begin;
    }
}

static bool is_seen(const struct scene *s, size_t cell)
{
    const int32_t at = s->cell_pos[cell];
    for (size_t i = 0; i < s->n_tokens; i++)
        if (s->first[i] <= at && at <= s->pos[i]) return true;
    return false;
}

/* ---- what the cells hold --------------------------------------------------------------------- */

/* How much a cell's key goes along with the queries. */
static double key_weight(const struct op_row *row, int32_t pos, size_t n_used)
{
    double at = n_used > 1 ? (double)pos / (double)(n_used - 1) : 0;
    switch (row->scores) {
    case SCORES_rising:
        return at;
    case SCORES_falling:
        return 1 - at;
    default:
        return 0;
    }
}

/* A row of a cache of the type, and the values it holds. */
static void store(enum tensor_type type, const float *x, size_t n, bool seen, uint8_t *to,
                  float *back, double *held)
{
    if (seen)
        ref_cache_encode(type, x, n, to);
    else
        memset(to, 0xff, type_bytes(type_by_id(type), n));
    ref_decode(type, to, n, back);
    for (size_t i = 0; i < n; i++) held[i] = (double)back[i];
}

/* Keys are noise plus a share of a direction that all queries have in common, by which scores
 * rise, fall, or are huge. */
static bool fill_cells(struct scene *s, struct test *t, struct rng *r)
{
    const struct op_row *row = s->row;
    const double noise = row->scores == SCORES_huge ? 3000 : row->scores == SCORES_equal ? 0 : 1;
    const double along = 30 / sqrt((double)row->head_dim);
    const size_t k_bytes = type_bytes(type_by_id(s->k_type), s->k_width);
    const size_t v_bytes = type_bytes(type_by_id(s->v_type), s->v_width);
    const size_t width = s->k_width > s->v_width ? s->k_width : s->v_width;
    float *x = test_alloc(t, width, sizeof *x), *back = test_alloc(t, width, sizeof *back);
    if (!x || !back) return false;
    for (size_t c = 0; c < s->n_cells; c++) {
        const bool seen = is_seen(s, c);
        const double share = seen ? along * key_weight(row, s->cell_pos[c], s->n_used) : 0;
        for (size_t i = 0; i < s->k_width; i++) x[i] = (float)(noise * rng_gauss(r) + share);
        store(s->k_type, x, s->k_width, seen, s->k + c * k_bytes, back, s->kd + c * s->k_width);
        for (size_t i = 0; i < s->v_width; i++)
            x[i] = (float)(rng_gauss(r) + 0.25 * (double)(c % 7));
        store(s->v_type, x, s->v_width, seen, s->v + c * v_bytes, back, s->vd + c * s->v_width);
    }
    return true;
}

static void bound_scores(struct scene *s, const double *mag)
{
    const double cap = (double)s->row->cap;
    for (size_t i = 0; i < s->n_tokens * s->row->heads * s->n_cells; i++)
        s->score_bounds[i] = bound_score(s->scores[i], cap, mag[i], s->row->head_dim);
}

static bool evaluate(struct scene *s, struct test *t)
{
    const struct op_row *row = s->row;
    double *mag = test_alloc(t, s->n_tokens * row->heads * s->n_cells, sizeof *mag);
    if (!mag) return false;
    ref_attention(&(struct ref_attention){.q = s->qd,
                                          .k = s->kd,
                                          .v = s->vd,
                                          .pos = s->pos,
                                          .first = s->first,
                                          .cell_pos = s->cell_pos,
                                          .sinks = s->sinks,
                                          .n_tokens = s->n_tokens,
                                          .n_heads = row->heads,
                                          .n_kv_heads = row->kv_heads,
                                          .head_dim = row->head_dim,
                                          .value_dim = s->value_dim,
                                          .n_cells = s->n_cells,
                                          .scale = (double)s->scale,
                                          .cap = (double)row->cap,
                                          .scores = s->scores,
                                          .mag_scores = mag,
                                          .weights = s->weights,
                                          .out = s->out,
                                          .mag = s->mag});
    bound_scores(s, mag);
    return true;
}

static bool scene_alloc(struct scene *s, struct test *t)
{
    const size_t probs = s->n_tokens * s->row->heads * s->n_cells, out = s->n_tokens * s->out_width;
    s->q = test_alloc(t, s->n_tokens * s->q_width, sizeof *s->q);
    s->k = test_alloc(t, s->n_cells * s->k_width, sizeof(float));
    s->v = test_alloc(t, s->n_cells * s->v_width, sizeof(float));
    s->kd = test_alloc(t, s->n_cells * s->k_width, sizeof(double));
    s->vd = test_alloc(t, s->n_cells * s->v_width, sizeof(double));
    s->pos = test_alloc(t, s->n_tokens, sizeof *s->pos);
    s->first = test_alloc(t, s->n_tokens, sizeof *s->first);
    s->cell_pos = test_alloc(t, s->n_cells, sizeof *s->cell_pos);
    if (s->row->sinks) s->sinks = test_alloc(t, s->row->heads, sizeof *s->sinks);
    s->scores = test_alloc(t, probs, sizeof(double));
    s->score_bounds = test_alloc(t, probs, sizeof(double));
    s->weights = test_alloc(t, probs, sizeof(double));
    s->out = test_alloc(t, out, sizeof(double)), s->mag = test_alloc(t, out, sizeof(double));
    return t->result.status == CASE_PASS;
}

static bool scene_make(struct scene *s, struct test *t, const struct op_row *row,
                       enum tensor_type type)
{
    const size_t used = (size_t)row->past + row->rows;
    struct rng r = rng_of(t);
    *s = (struct scene){.row = row,
                        .n_tokens = row->rows,
                        .n_used = used,
                        .n_cells = cells_of(row, used),
                        .value_dim = ops_value_dim(row),
                        .k_type = type,
                        .v_type = ops_value_type(row, type),
                        .scale = 1 / sqrtf((float)row->head_dim)};
    s->k_width = (size_t)row->kv_heads * row->head_dim;
    s->v_width = row->kv_heads * s->value_dim;
    s->q_width = (size_t)row->heads * row->head_dim;
    s->out_width = row->heads * s->value_dim;
    if (!scene_alloc(s, t)) return false;
    input_fill(INPUT_gauss, &r, s->q, s->n_tokens, s->q_width);
    for (size_t i = 0; i < s->n_tokens * s->q_width; i++) {
        if (row->scores == SCORES_rising || row->scores == SCORES_falling) s->q[i] += 1;
        if (row->cap != 0) s->q[i] *= 2 * row->cap; /* far into the cap */
    }
    for (size_t i = 0; s->sinks && i < row->heads; i++)
        s->sinks[i] = (float)(2 * rng_gauss(&r) + (i == 0 ? 6 : 0));
    s->qd = ops_widen(t, s->q, s->n_tokens * s->q_width);
    place_cells(s, &r);
    place_queries(s, &r);
    return s->qd && fill_cells(s, t, &r) && evaluate(s, t);
}

/* ---- judging --------------------------------------------------------------------------------- */

/* What the errors of scores cost the result, as a factor on its magnitude. */
static void amplify(struct scene *s)
{
    for (size_t th = 0; th < s->n_tokens * s->row->heads; th++) {
        const double sink = s->sinks ? (double)s->sinks[th % s->row->heads] : 0;
        const double gain =
            bound_attention_gain(s->score_bounds + th * s->n_cells, s->n_cells, sink);
        for (size_t d = 0; d < s->value_dim; d++) s->mag[th * s->value_dim + d] *= gain;
    }
}

/* attn_mix is given probabilities that are rounded to f32: what it should make of them. */
static void expect_mix(struct scene *s, const float *p)
{
    const size_t heads = s->row->heads, group = heads / s->row->kv_heads, d = s->value_dim;
    for (size_t th = 0; th < s->n_tokens * heads; th++) {
        const float *weights = p + th * s->n_cells;
        const size_t at = th % heads / group * d;
        for (size_t i = 0; i < d; i++) {
            double sum = 0, mag = 0;
            for (size_t c = 0; c < s->n_cells; c++) {
                if (weights[c] == 0) continue; /* hidden cells hold NaN */
                double term = (double)weights[c] * s->vd[c * s->v_width + at + i];
                sum += term;
                mag += fabs(term);
            }
            s->out[th * d + i] = sum;
            s->mag[th * d + i] = mag;
        }
    }
}

static void judge_attention(struct test *t, const struct test_case *c, struct scene *s,
                            const float *got)
{
    const size_t heads = s->row->heads;
    struct axes axes = {"token", "dimension", s->value_dim, "head"};
    if (c->index == OP_attn_scores) {
        axes.col = "cell", axes.unit = s->n_cells;
        compare_within_on(&t->result, got, s->scores, s->score_bounds, s->n_tokens,
                          heads * s->n_cells, &axes);
        return;
    }
    if (c->index == OP_attention) amplify(s);
    compare(&t->result, &(struct comparison){.cls = op_table[c->index].tol,
                                             .got = got,
                                             .want = s->out,
                                             .mag = s->mag,
                                             .rows = s->n_tokens,
                                             .cols = s->out_width,
                                             .n = s->n_cells,
                                             .axes = &axes});
}

static struct op_attention arguments(struct rig *g, const struct scene *s, enum op op,
                                     const float *p)
{
    const size_t heads = s->row->heads, probs = s->n_tokens * heads * s->n_cells;
    const size_t tokens = s->n_tokens * sizeof(int32_t), q = s->n_tokens * s->q_width;
    const size_t k = type_bytes(type_by_id(s->k_type), s->n_cells * s->k_width);
    const size_t v = type_bytes(type_by_id(s->v_type), s->n_cells * s->v_width);
    struct op_attention a = {.pos = rig_input(g, s->pos, tokens),
                             .first = rig_input(g, s->first, tokens),
                             .cell_pos = rig_input(g, s->cell_pos, s->n_cells * sizeof(int32_t)),
                             .n_tokens = (uint32_t)s->n_tokens,
                             .n_heads = s->row->heads,
                             .n_kv_heads = s->row->kv_heads,
                             .head_dim = s->row->head_dim,
                             .value_dim = (uint32_t)s->value_dim,
                             .n_cells = (uint32_t)s->n_cells,
                             .k_type = s->k_type,
                             .v_type = s->v_type,
                             .scale = s->scale,
                             .softcap = s->row->cap};
    if (op != OP_attn_mix) {
        a.q = rig_input(g, s->q, q * sizeof *s->q);
        a.k = rig_input(g, s->k, k);
    }
    if (op != OP_attn_scores) {
        a.v = rig_input(g, s->v, v);
        a.out = rig_output(g, s->n_tokens * s->out_width);
    }
    if (op == OP_attention && s->sinks) a.sinks = rig_input(g, s->sinks, heads * sizeof(float));
    if (op == OP_attn_mix) a.probs = rig_input(g, p, probs * sizeof *p);
    if (op == OP_attn_scores) a.probs = rig_output(g, probs);
    return a;
}

void ops_run_attention(struct test *t, const struct test_case *c)
{
    struct scene s;
    struct rig g;
    const enum op op = (enum op)c->index;
    if (!scene_make(&s, t, c->arg, type_by_name(c->type)->id)) return;
    const size_t probs = s.n_tokens * s.row->heads * s.n_cells;
    float *p = test_alloc(t, probs, sizeof *p);
    if (!p || !rig_open(&g, t, c)) return;
    for (size_t i = 0; i < probs; i++) p[i] = (float)s.weights[i];
    if (op == OP_attn_mix) expect_mix(&s, p);
    const struct op_attention a = arguments(&g, &s, op, p);
    enum status (*slot)(struct backend *, const struct op_attention *, struct err *) =
        op == OP_attention  ? g.ops->attention
        : op == OP_attn_mix ? g.ops->attn_mix
                            : g.ops->attn_scores;
    if (rig_has(&g, slot != NULL, c->op)) rig_did(&g, slot(g.b, &a, &g.e));
    const bool scores = op == OP_attn_scores;
    const float *got =
        rig_get(&g, scores ? a.probs : a.out, scores ? probs : s.n_tokens * s.out_width);
    if (got) judge_attention(t, c, &s, got);
    rig_close(&g);
}
