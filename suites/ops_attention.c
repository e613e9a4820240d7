/* Cases of RoPE, the KV cache and attention. */
#include "ops.h"
#include "compare.h"
#include "ref.h"

#include <math.h>
#include <string.h>

/* ---- RoPE -------------------------------------------------------------------------------- */

static const int32_t positions[] = {0, 1, 2, 7, 63, 511, 4095, 32767, 131071};
enum { N_POSITIONS = sizeof positions / sizeof *positions };

/* The divisors of Llama 3.1, which its files hold as rope_freqs: factor 8, low and high frequency
 * factors 1 and 4, trained on 8192 positions. */
static double llama3_factor(double base, size_t pair, size_t n_dims)
{
    double wave = 6.283185307179586 * pow(base, 2 * (double)pair / (double)n_dims);
    double low = 8192.0 / 1, high = 8192.0 / 4;
    if (wave < high) return 1;
    if (wave > low) return 8;
    double smooth = (8192 / wave - 1) / 3;
    return 1 / ((1 - smooth) / 8 + smooth);
}

static struct ref_rope rope_of(const struct op_row *row, struct rng *rng, float *factors)
{
    struct ref_rope r = {.pairing = row->pairing == ROPE_NORM ? REF_ROPE_NORM : REF_ROPE_NEOX,
                         .n_dims = row->n_dims,
                         .freq_base = (double)row->base,
                         .freq_scale = 1,
                         .attn_factor = 1,
                         .beta_fast = 32,
                         .beta_slow = 1,
                         .magnitude = 1,
                         .n_ctx_orig = 4096};
    for (size_t p = 0; p < row->n_dims / 2; p++)
        factors[p] = row->scaling == SCALING_llama3
                         ? (float)llama3_factor((double)row->base, p, row->n_dims)
                         : (float)(1 + 7 * rng_uniform(rng));
    if (row->scaling == SCALING_factors || row->scaling == SCALING_llama3) r.factors = factors;
    if (row->scaling == SCALING_linear || row->scaling == SCALING_yarn) r.freq_scale = 0.25;
    if (row->scaling == SCALING_yarn) {
        r.ext_factor = 1;
        r.magnitude = 1 + 0.1 * log(4);
    }
    return r;
}

/* The rotated part of each head, from row->first on, as heads of its own. */
static bool rotate(struct test *t, const struct ref_rope *rope, const struct op_row *row, double *y,
                   double *mag)
{
    size_t heads = N_POSITIONS * (size_t)row->heads, d = row->head_dim, part = row->n_dims;
    double *x = test_alloc(t, heads * part, sizeof *x);
    double *part_mag = test_alloc(t, heads * part, sizeof *part_mag);
    if (!x || !part_mag) return false;
    for (size_t i = 0; i < heads * part; i++) x[i] = y[i / part * d + row->first + i % part];
    ref_rope(rope, x, positions, N_POSITIONS, row->heads, part, part_mag);
    for (size_t i = 0; i < heads * d; i++) mag[i] = 0; /* the rest is not touched: exact */
    for (size_t i = 0; i < heads * part; i++) {
        const size_t at = i / part * d + row->first + i % part;
        y[at] = x[i];
        mag[at] = part_mag[i];
    }
    return true;
}

void run_rope(struct test *t, const struct test_case *c)
{
    const struct op_row *row = c->arg;
    size_t width = (size_t)row->heads * row->head_dim, n = N_POSITIONS * width;
    size_t pairs = row->n_dims / 2;
    struct rng r = rng_of(t);
    float *x = test_alloc(t, n, sizeof *x), *factors = test_alloc(t, pairs, sizeof *factors);
    float *table = test_alloc(t, N_POSITIONS * pairs * 2, sizeof *table);
    double *mag = test_alloc(t, n, sizeof *mag);
    if (!x || !factors || !table || !mag) return;
    input_fill(row->input, &r, x, N_POSITIONS, width);
    struct ref_rope rope = rope_of(row, &r, factors);
    struct axes axes = {"position", "dimension", row->head_dim, "head"};
    for (size_t i = 0; i < N_POSITIONS; i++)
        for (size_t p = 0; p < pairs; p++) {
            double cs, sn;
            ref_rope_angle(&rope, positions[i], (uint32_t)p, &cs, &sn);
            table[2 * (i * pairs + p)] = (float)cs;
            table[2 * (i * pairs + p) + 1] = (float)sn;
        }
    double *y = widen(t, x, n);
    if (!y) return;
    if (!rotate(t, &rope, row, y, mag)) return;
    struct rig g;
    if (!rig_open(&g, t, c)) return;
    struct op_rope a = {.x = rig_inout(&g, x, n * sizeof *x),
                        .table = rig_input(&g, table, N_POSITIONS * pairs * 2 * sizeof *table),
                        .n_tokens = N_POSITIONS,
                        .n_heads = row->heads,
                        .head_dim = row->head_dim,
                        .first = row->first,
                        .n_dims = row->n_dims,
                        .pairing = row->pairing};
    if (rig_has(&g, g.ops->rope, c->op)) rig_did(&g, g.ops->rope(g.b, &a, &g.e));
    float *got = rig_get(&g, a.x, n);
    if (got)
        compare(&t->result, &(struct comparison){.cls = TOL_REDUCE,
                                                 .got = got,
                                                 .want = y,
                                                 .mag = mag,
                                                 .rows = N_POSITIONS,
                                                 .cols = width,
                                                 .n = 1,
                                                 .axes = &axes});
    rig_close(&g);
}

/* ---- cache and attention ----------------------------------------------------------------- */

/* A cache in which past + tokens cells are of use, laid out as the row says; all others hold NaN. */
struct scene {
    size_t n_tokens, n_cells, width, q_width;
    enum tensor_type k_type, v_type;
    float *q;
    uint8_t *k, *v;       /* of their types */
    double *qd, *kd, *vd; /* the values that the caches hold */
    int32_t *pos, *cell_pos;
    double *scores, *mag_scores, *weights, *out, *mag;
    float scale;
};

static double stored(enum tensor_type type, float x)
{
    return (double)(type == TYPE_F16 ? ref_f16_to_f32(ref_f32_to_f16(x)) : x);
}

static void store(enum tensor_type type, uint8_t *to, size_t i, float x)
{
    uint16_t h = ref_f32_to_f16(x);
    if (type == TYPE_F16)
        memcpy(to + 2 * i, &h, 2);
    else
        memcpy(to + 4 * i, &x, 4);
}

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

/* Keys are noise plus a share of a direction that all queries have in common, by which scores
 * rise, fall, or are huge. */
static void fill_cells(struct scene *s, const struct op_row *row, size_t n_used, struct rng *r)
{
    double noise = row->scores == SCORES_huge ? 3000 : row->scores == SCORES_equal ? 0 : 1;
    double along = 30 / sqrt((double)row->head_dim);
    for (size_t c = 0; c < s->n_cells; c++) {
        bool used = s->cell_pos[c] >= 0 && (size_t)s->cell_pos[c] < n_used;
        double share = used ? along * key_weight(row, s->cell_pos[c], n_used) : 0;
        for (size_t i = c * s->width; i < (c + 1) * s->width; i++) {
            float k = used ? (float)(noise * rng_gauss(r) + share) : NAN;
            float v = used ? (float)(rng_gauss(r) + 0.25 * (double)(c % 7)) : NAN;
            store(s->k_type, s->k, i, k);
            store(s->v_type, s->v, i, v);
            s->kd[i] = stored(s->k_type, k);
            s->vd[i] = stored(s->v_type, v);
        }
    }
}

/* Which position each cell holds. Beyond the used ones: in turn empty, and of later positions,
 * which no query may see. */
static void place_cells(struct scene *s, const struct op_row *row, size_t used, struct rng *r)
{
    for (size_t i = 0; i < s->n_cells; i++)
        s->cell_pos[i] = (int32_t)i < (int32_t)used ? (int32_t)i : i % 2 ? -1 : (int32_t)(used + i);
    if (row->cells == CELLS_blind)
        for (size_t i = 0; i < used && i <= s->n_tokens / 2 + row->past; i++) s->cell_pos[i] = -1;
    for (size_t i = s->n_cells; row->cells != CELLS_dense && i > 1; i--) {
        size_t k = rng_below(r, i);
        int32_t swap = s->cell_pos[i - 1];
        s->cell_pos[i - 1] = s->cell_pos[k];
        s->cell_pos[k] = swap;
    }
}

static bool scene_make(struct scene *s, struct test *t, const struct op_row *row,
                       enum tensor_type type)
{
    size_t used = (size_t)row->past + row->rows;
    *s = (struct scene){.n_tokens = row->rows,
                        .n_cells = row->cells == CELLS_dense ? used : used + 3 + used / 8,
                        .k_type = type,
                        .v_type = !row->mixed        ? type
                                  : type == TYPE_F16 ? TYPE_F32
                                                     : TYPE_F16,
                        .width = (size_t)row->kv_heads * row->head_dim,
                        .q_width = (size_t)row->heads * row->head_dim,
                        .scale = 1 / sqrtf((float)row->head_dim)};
    size_t cells = s->n_cells * s->width, size = sizeof(float);
    size_t probs = s->n_tokens * row->heads * s->n_cells, out = s->n_tokens * s->q_width;
    struct rng r = rng_of(t);
    s->q = test_alloc(t, out, sizeof *s->q);
    s->k = test_alloc(t, cells, size), s->v = test_alloc(t, cells, size);
    s->kd = test_alloc(t, cells, sizeof(double)), s->vd = test_alloc(t, cells, sizeof(double));
    s->pos = test_alloc(t, s->n_tokens, sizeof *s->pos);
    s->cell_pos = test_alloc(t, s->n_cells, sizeof *s->cell_pos);
    s->scores = test_alloc(t, probs, sizeof(double)),
    s->mag_scores = test_alloc(t, probs, sizeof(double));
    s->weights = test_alloc(t, probs, sizeof(double)), s->out = test_alloc(t, out, sizeof(double));
    s->mag = test_alloc(t, out, sizeof(double));
    if (t->result.status != CASE_PASS) return false;
    input_fill(INPUT_gauss, &r, s->q, s->n_tokens, s->q_width);
    if (row->scores == SCORES_rising || row->scores == SCORES_falling)
        for (size_t i = 0; i < out; i++) s->q[i] += 1;
    s->qd = widen(t, s->q, out);
    place_cells(s, row, used, &r);
    for (size_t i = 0; i < s->n_tokens; i++) s->pos[i] = (int32_t)(row->past + i);
    fill_cells(s, row, used, &r);
    struct ref_attention a = {.q = s->qd,
                              .k = s->kd,
                              .v = s->vd,
                              .pos = s->pos,
                              .cell_pos = s->cell_pos,
                              .n_tokens = s->n_tokens,
                              .n_heads = row->heads,
                              .n_kv_heads = row->kv_heads,
                              .head_dim = row->head_dim,
                              .n_cells = s->n_cells,
                              .scale = (double)s->scale,
                              .scores = s->scores,
                              .mag_scores = s->mag_scores,
                              .weights = s->weights,
                              .out = s->out,
                              .mag = s->mag};
    ref_attention(&a);
    return true;
}

/* A score's error is amplified by exp: relative error of each weight up to twice the worst error
 * of the scores of its row, added to the magnitude in units of the REDUCE bound. */
static void amplify(struct scene *s, const struct op_row *row)
{
    for (size_t th = 0; th < s->n_tokens * row->heads; th++) {
        double worst = 0;
        for (size_t c = 0; c < s->n_cells; c++) {
            size_t i = th * s->n_cells + c;
            if (isinf(s->scores[i])) continue;
            worst =
                fmax(worst, bound_marginal(TOL_DOT, 0, s->mag_scores[i], row->head_dim) * 0x1p24);
        }
        for (size_t d = 0; d < row->head_dim; d++) s->mag[th * row->head_dim + d] *= 1 + worst / 4;
    }
}

/* attn_mix is given probabilities that are rounded to f32: what it should make of them. */
static void expect_mix(struct scene *s, const struct op_row *row, const float *p)
{
    size_t group = row->heads / row->kv_heads, d = row->head_dim;
    for (size_t th = 0; th < s->n_tokens * row->heads; th++) {
        const float *weights = p + th * s->n_cells;
        size_t at = th % row->heads / group * d;
        for (size_t i = 0; i < d; i++) {
            double sum = 0, mag = 0;
            for (size_t c = 0; c < s->n_cells; c++) {
                if (weights[c] == 0) continue; /* hidden cells hold NaN */
                double term = (double)weights[c] * s->vd[c * s->width + at + i];
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
    const struct op_row *row = c->arg;
    struct comparison cmp = {.cls = op_table[c->index].tol, .got = got, .rows = s->n_tokens};
    struct axes axes = {"token", "dimension", row->head_dim, "head"};
    if (c->index == OP_attn_scores) {
        cmp.want = s->scores, cmp.mag = s->mag_scores, cmp.n = row->head_dim;
        cmp.cols = row->heads * s->n_cells;
        axes.col = "cell", axes.unit = s->n_cells;
    } else {
        cmp.want = s->out, cmp.mag = s->mag, cmp.cols = s->q_width, cmp.n = s->n_cells;
        if (c->index == OP_attention) amplify(s, row);
    }
    cmp.axes = &axes;
    compare(&t->result, &cmp);
}

void run_attention(struct test *t, const struct test_case *c)
{
    const struct op_row *row = c->arg;
    struct scene s;
    if (!scene_make(&s, t, row, type_by_name(c->type)->id)) return;
    size_t probs = s.n_tokens * row->heads * s.n_cells, out = s.n_tokens * s.q_width;
    size_t cells = s.n_cells * s.width;
    float *p = test_alloc(t, probs, sizeof *p);
    int32_t *first = test_alloc(t, s.n_tokens, sizeof *first);
    struct rig g;
    if (!p || !first || !rig_open(&g, t, c)) return;
    for (size_t i = 0; i < probs; i++) p[i] = (float)s.weights[i];
    bool mix = c->index == OP_attn_mix, scores = c->index == OP_attn_scores;
    if (mix) expect_mix(&s, row, p);
    struct op_attention a = {.pos = rig_input(&g, s.pos, s.n_tokens * sizeof *s.pos),
                             .first = rig_input(&g, first, s.n_tokens * sizeof *first),
                             .cell_pos = rig_input(&g, s.cell_pos, s.n_cells * sizeof *s.cell_pos),
                             .n_tokens = (uint32_t)s.n_tokens,
                             .n_heads = row->heads,
                             .n_kv_heads = row->kv_heads,
                             .head_dim = row->head_dim,
                             .value_dim = row->head_dim,
                             .n_cells = (uint32_t)s.n_cells,
                             .k_type = s.k_type,
                             .v_type = s.v_type,
                             .scale = s.scale};
    if (!mix)
        a.q = rig_input(&g, s.q, out * sizeof *s.q),
        a.k = rig_input(&g, s.k, type_bytes(type_by_id(s.k_type), cells));
    if (!scores)
        a.v = rig_input(&g, s.v, type_bytes(type_by_id(s.v_type), cells)),
        a.out = rig_output(&g, out);
    if (mix) a.probs = rig_input(&g, p, probs * sizeof *p);
    if (scores) a.probs = rig_output(&g, probs);
    if (rig_has(&g, scores ? g.ops->attn_scores : mix ? g.ops->attn_mix : g.ops->attention, c->op))
        rig_did(&g, scores ? g.ops->attn_scores(g.b, &a, &g.e)
                    : mix  ? g.ops->attn_mix(g.b, &a, &g.e)
                           : g.ops->attention(g.b, &a, &g.e));
    const float *got = rig_get(&g, scores ? a.probs : a.out, scores ? probs : out);
    if (got) judge_attention(t, c, &s, got);
    rig_close(&g);
}

void run_kv_write(struct test *t, const struct test_case *c)
{
    const struct op_row *row = c->arg;
    enum tensor_type type = type_by_name(c->type)->id;
    size_t size = type_bytes(type_by_id(type), 1), width = (size_t)row->kv_heads * row->head_dim;
    size_t n_tokens = row->rows, n_cells = n_tokens + 3;
    struct axes axes = {"cell", "dimension", row->head_dim, "head"};
    float *src = test_alloc(t, n_tokens * width, sizeof *src);
    int32_t *cells = test_alloc(t, n_tokens, sizeof *cells);
    uint8_t *want = test_alloc(t, n_cells * width, size);
    if (!src || !cells || !want) return;
    struct rng r = rng_of(t);
    static const float edges[] = {0.0f,     -0.0f,      65504.0f,       -65520.0f, 1e30f,    6e-8f,
                                  2.98e-8f, 1.0009765f, 1.00146484375f, -6.1e-5f,  INFINITY, NAN};
    for (size_t i = 0; i < n_tokens * width; i++)
        src[i] = i % 5 == 0 ? edges[i / 5 % (sizeof edges / sizeof *edges)]
                            : (float)(rng_gauss(&r) * exp2(rng_gauss(&r) * 6));
    uint8_t *start = test_alloc(t, n_cells * width, size);
    if (!start) return;
    memset(start, 0x5a, n_cells * width * size); /* cells that are not written keep this */
    memcpy(want, start, n_cells * width * size);
    for (size_t i = 0; i < n_tokens; i++) {
        cells[i] = (int32_t)(n_cells - 1 - i);
        for (size_t d = 0; d < width; d++)
            store(type, want, (size_t)cells[i] * width + d, src[i * width + d]);
    }
    struct rig g;
    if (!rig_open(&g, t, c)) return;
    struct op_kv_write a = {.src = rig_input(&g, src, n_tokens * width * sizeof *src),
                            .cells = rig_input(&g, cells, n_tokens * sizeof *cells),
                            .cache = rig_inout(&g, start, n_cells * width * size),
                            .n_tokens = (uint32_t)n_tokens,
                            .row = (uint32_t)width,
                            .type = type};
    if (rig_has(&g, g.ops->kv_write, c->op)) rig_did(&g, g.ops->kv_write(g.b, &a, &g.e));
    uint8_t *got = rig_get_bytes(&g, a.cache, n_cells * width * size);
    if (got && type == TYPE_F32) {
        compare_bits_on(&t->result, (float *)(void *)got, (float *)(void *)want, n_cells, width,
                        &axes);
    } else if (got) {
        float *x = test_alloc(t, n_cells * width, sizeof *x),
              *y = test_alloc(t, n_cells * width, sizeof *y);
        if (!x || !y) return;
        ref_decode(TYPE_F16, got, n_cells * width, x);
        ref_decode(TYPE_F16, want, n_cells * width, y);
        compare_bits_on(&t->result, x, y, n_cells, width, &axes);
    }
    rig_close(&g);
}
