/* Golden op vectors of attention. The claims are in vectors_op_claims.c. */
#include "selftest/vectors_op.h"

#include <math.h>

struct attention_vec {
    size_t d, value_dim, heads, tokens, cells;
    double cap;
    const float *sinks;
    const double *scores, *mag_scores, *weights, *out, *mag;
    double *score_bound, *weight_bound, *out_bound;
};

static void attention_bounds(const struct attention_vec *o)
{
    for (size_t row = 0; row < o->tokens * o->heads; row++) {
        const size_t at = row * o->cells;
        const double sink = o->sinks ? (double)o->sinks[row % o->heads] : -INFINITY;
        const double max = fmax(sink, vec_row_max(o->scores + at, o->cells));
        double worst = 0, cost = 0;
        for (size_t i = at; i < at + o->cells; i++) {
            o->score_bound[i] = claim_score(o->d, o->mag_scores[i], o->cap != 0, o->scores[i]);
            worst = fmax(worst, o->score_bound[i]);
        }
        for (size_t i = at; i < at + o->cells; i++) {
            const double gap = o->weights[i] == 0 ? 0 : claim_gap(worst, max - o->scores[i]);
            o->weight_bound[i] = claim_weight(gap, o->cells, o->weights[i]);
            cost = fmax(cost, gap);
        }
        for (size_t i = row * o->value_dim; i < (row + 1) * o->value_dim; i++)
            o->out_bound[i] = claim_attention(cost, o->cells, o->mag[i]);
    }
}

static void read_attention(struct vec *v, struct attention_vec *o, struct ref_attention *a)
{
    const uint64_t *q = vec_dims(v, "q"), *k = vec_dims(v, "k");
    *o = (struct attention_vec){.d = (size_t)q[0],
                                .value_dim = (size_t)vec_dims(v, "v")[0],
                                .heads = (size_t)q[1],
                                .tokens = (size_t)q[2],
                                .cells = (size_t)k[2]};
    const size_t kv_heads = (size_t)k[1], rows = o->tokens * o->heads, grid = rows * o->cells;
    const size_t n_out = rows * o->value_dim;
    const bool masked = vec_has(v, "first");
    o->cap = masked ? vec_number(v, "cap") : 0;
    o->sinks = vec_has(v, "sinks") ? vec_f32(v, "sinks", o->heads) : NULL;
    o->scores = vec_f64(v, "scores", grid), o->mag_scores = vec_f64(v, "mag_scores", grid);
    o->weights = vec_f64(v, "weights", grid);
    o->out = vec_f64(v, "out", n_out), o->mag = vec_f64(v, "mag", n_out);
    o->score_bound = vec_room(v, grid), o->weight_bound = vec_room(v, grid);
    o->out_bound = vec_room(v, n_out);
    *a = (struct ref_attention){.q = vec_wide(v, "q", rows * o->d),
                                .k = vec_wide(v, "k", o->cells * kv_heads * o->d),
                                .v = vec_wide(v, "v", o->cells * kv_heads * o->value_dim),
                                .pos = vec_i32(v, "pos", o->tokens),
                                .first = masked ? vec_i32(v, "first", o->tokens) : NULL,
                                .cell_pos = vec_i32(v, "cell_pos", o->cells),
                                .n_tokens = o->tokens,
                                .n_heads = o->heads,
                                .n_kv_heads = kv_heads,
                                .head_dim = o->d,
                                .value_dim = o->value_dim,
                                .n_cells = o->cells,
                                .scale = vec_number(v, "scale"),
                                .cap = o->cap,
                                .window = masked ? vec_count(v, "window") : 0,
                                .sinks = o->sinks,
                                .scores = vec_room(v, grid),
                                .mag_scores = vec_room(v, grid),
                                .weights = vec_room(v, grid),
                                .out = vec_room(v, n_out),
                                .mag = vec_room(v, n_out)};
}

void opvec_attention(struct vec *v)
{
    struct attention_vec o;
    struct ref_attention a;
    read_attention(v, &o, &a);
    if (!v->ok) return;
    const size_t rows = o.tokens * o.heads;
    attention_bounds(&o);
    ref_attention(&a);
    vec_judge(v, &(struct vec_judged){"scores", a.scores, o.scores, o.score_bound, rows, o.cells});
    vec_judge(v, &(struct vec_judged){"magnitudes of scores", a.mag_scores, o.mag_scores,
                                      o.score_bound, rows, o.cells});
    vec_judge(v,
              &(struct vec_judged){"weights", a.weights, o.weights, o.weight_bound, rows, o.cells});
    vec_judge(v, &(struct vec_judged){"out", a.out, o.out, o.out_bound, rows, o.value_dim});
    vec_judge(
        v, &(struct vec_judged){"magnitudes of out", a.mag, o.mag, o.out_bound, rows, o.value_dim});
    /* Without a place for weights the reference goes another way, to the same claim. */
    double *again = vec_room(v, rows * o.value_dim);
    if (!again) return;
    a.weights = a.scores = a.mag_scores = NULL, a.out = again;
    ref_attention(&a);
    vec_judge(v, &(struct vec_judged){"out without weights", again, o.out, o.out_bound, rows,
                                      o.value_dim});
}
