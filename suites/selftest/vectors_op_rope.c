/* Golden op vectors of RoPE. The claims are in vectors_op_claims.c. */
#include "selftest/vectors_op.h"
#include "engine/model/rope_table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct rope_vec {
    struct ref_rope rope;
    size_t d, heads, tokens, half;
    const int32_t *pos;
    const double *theta, *cos, *sin; /* (tokens, half) */
    double *table; /* (tokens, half): claim_angle, what the error of the angle costs */
};

static void rope_parameters(struct vec *v, struct ref_rope *r)
{
    char name[128];
    struct gguf_str pairing = {0};
    struct err e = {0};
    snprintf(name, sizeof name, "%s.pairing", v->name);
    v->ok &= test_ok(v->t, gguf_get_str(v->g, name, &pairing, &e), &e);
    const bool neox = pairing.len == 4 && memcmp(pairing.data, "neox", 4) == 0;
    *r = (struct ref_rope){.pairing = neox ? REF_ROPE_NEOX : REF_ROPE_NORM,
                           .n_dims = vec_count(v, "n_dims"),
                           .freq_base = vec_number(v, "freq_base"),
                           .freq_scale = vec_number(v, "freq_scale"),
                           .ext_factor = vec_number(v, "ext_factor"),
                           .attn_factor = vec_number(v, "attn_factor"),
                           .beta_fast = vec_number(v, "beta_fast"),
                           .beta_slow = vec_number(v, "beta_slow"),
                           .n_ctx_orig = vec_count(v, "n_ctx_orig"),
                           .magnitude = vec_number(v, "magnitude")};
    snprintf(name, sizeof name, "%s.factors", v->name);
    if (gguf_find_tensor(v->g, name)) r->factors = vec_f32(v, "factors", r->n_dims / 2);
}

static void rope_read(struct vec *v, struct rope_vec *o)
{
    const uint64_t *dims = vec_dims(v, "x");
    *o = (struct rope_vec){
        .d = (size_t)dims[0], .heads = (size_t)dims[1], .tokens = (size_t)dims[2]};
    rope_parameters(v, &o->rope);
    o->half = o->rope.n_dims / 2;
    o->pos = vec_i32(v, "pos", o->tokens);
    o->theta = vec_f64(v, "theta", o->tokens * o->half);
    o->cos = vec_f64(v, "cos", o->tokens * o->half);
    o->sin = vec_f64(v, "sin", o->tokens * o->half);
    o->table = vec_room(v, o->tokens * o->half);
    for (size_t i = 0; v->ok && i < o->tokens * o->half; i++) {
        const double turn = 2.0 * (double)(i % o->half) / o->rope.n_dims;
        const double yarn = o->rope.ext_factor != 0 ? 2 / o->rope.freq_scale : 1;
        o->table[i] = claim_angle(o->theta[i], turn, o->rope.freq_base, yarn, o->rope.magnitude);
    }
}

static void judge_table(struct vec *v, const struct rope_vec *o)
{
    const size_t n = o->tokens * o->half;
    double *c = vec_room(v, n), *s = vec_room(v, n), *bound = vec_room(v, n);
    for (size_t i = 0; v->ok && i < n; i++) {
        ref_rope_angle(&o->rope, o->pos[i / o->half], (uint32_t)(i % o->half), &c[i], &s[i]);
        bound[i] = claim_table(o->table[i], o->rope.magnitude);
    }
    vec_judge(v, &(struct vec_judged){"cos", c, o->cos, bound, o->tokens, o->half});
    vec_judge(v, &(struct vec_judged){"sin", s, o->sin, bound, o->tokens, o->half});
}

/* Bounds of both elements of every pair; elements beyond the rotated ones must not change. */
static void rope_bounds(const struct rope_vec *o, const double *x, double *bound)
{
    const bool norm = o->rope.pairing == REF_ROPE_NORM;
    for (size_t i = 0; i < o->tokens * o->heads * o->d; i++) bound[i] = 0;
    for (size_t row = 0; row < o->tokens * o->heads; row++)
        for (size_t p = 0; p < o->half; p++) {
            const size_t a = row * o->d + (norm ? 2 * p : p), b = norm ? a + 1 : a + o->half;
            const double table = o->table[row / o->heads * o->half + p];
            bound[a] = bound[b] = claim_rope(table, o->rope.magnitude, fabs(x[a]) + fabs(x[b]));
        }
}

void opvec_rope(struct vec *v)
{
    struct rope_vec o;
    rope_read(v, &o);
    const size_t n = o.tokens * o.heads * o.d;
    double *x = vec_wide(v, "x", n), *mag = vec_room(v, n), *bound = vec_room(v, n);
    const double *want = vec_f64(v, "y", n), *want_mag = vec_f64(v, "mag", n);
    if (!v->ok) return;
    judge_table(v, &o);
    rope_bounds(&o, x, bound);
    ref_rope(&o.rope, x, o.pos, o.tokens, o.heads, o.d, mag);
    vec_judge(v, &(struct vec_judged){"y", x, want, bound, o.tokens * o.heads, o.d});
    vec_judge(v, &(struct vec_judged){"magnitude", mag, want_mag, bound, o.tokens * o.heads, o.d});
}

/* The engine's table: the reference's claim, and one rounding to binary32. */
void opvec_rope_table(struct vec *v)
{
    struct rope_vec o;
    struct rope_table table;
    struct err e = {0};
    rope_read(v, &o);
    const size_t n = o.tokens * o.half;
    double *got = vec_room(v, 2 * n), *want = vec_room(v, 2 * n), *bound = vec_room(v, 2 * n);
    float *out = test_alloc(v->t, 2 * n, sizeof *out);
    if (!v->ok || !out) return;
    const enum rope_pairing pairing = o.rope.pairing == REF_ROPE_NORM ? ROPE_NORM : ROPE_NEOX;
    const struct rope_params p = {.n_dims = o.rope.n_dims,
                                  .pairing = pairing,
                                  .freq_base = o.rope.freq_base,
                                  .freq_scale = o.rope.freq_scale,
                                  .ext_factor = o.rope.ext_factor,
                                  .beta_fast = o.rope.beta_fast,
                                  .beta_slow = o.rope.beta_slow,
                                  .n_ctx_orig = o.rope.n_ctx_orig,
                                  .magnitude = o.rope.magnitude};
    if (!test_ok(v->t, rope_table_init(&table, &p, o.rope.factors, &v->t->arena, &e), &e)) return;
    rope_table_fill(&table, o.pos, o.tokens, out);
    for (size_t i = 0; i < 2 * n; i++) {
        got[i] = (double)out[i];
        want[i] = i % 2 ? o.sin[i / 2] : o.cos[i / 2];
        bound[i] = claim_table_f32(o.table[i / 2], o.rope.magnitude, want[i]);
    }
    vec_judge(v, &(struct vec_judged){"cos and sin", got, want, bound, o.tokens, 2 * o.half});
}
