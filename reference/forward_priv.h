/* The operations that forward passes are written in: each computes values and, where the pass
 * tracks them, their error bounds.
 *
 * Error analysis. For every value the pass keeps `var`, the square of a bound on how far an
 * evaluation in binary32 may be from it. An operation y = f(x1, x2, ...) adds
 *
 *     var(y) = sum_j (df/dx_j)^2 var(x_j) + local(y)^2
 *
 * that is: first order, the errors of its inputs taken as independent, plus the bound for its own
 * roundings. Worst-case bounds (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
 * ch. 3: n u sum|w x| for an inner product) compound to something useless within a few layers.
 * Roundings that behave like independent, mean zero variables give sqrt(n) in place of n with high
 * probability: Higham & Mary, "A new approach to probabilistic rounding error analysis", SIAM J.
 * Sci. Comput. 41 (2019), theorem 3.1, whose constant lambda is 8 here as in the marginal bounds of
 * ops.def. Since all rules are homogeneous, carrying bounds at lambda = 8 and adding them in
 * squares is the same as carrying standard deviations and multiplying by 8 at the end.
 *
 * local covers one evaluation by an engine whose inputs are the reference's values, rounded to
 * binary32 (u |x| each), which is what an engine has when its inputs are replaced by the
 * reference's.
 *
 * Units. local, and dev = sqrt(var), are absolute errors in the unit of the value, at lambda =
 * 8. */
#ifndef REF_FORWARD_PRIV_H
#define REF_FORWARD_PRIV_H

#include "reference/model_priv.h"

/* Values of a pass, one row for each of its tokens. Both arrays are (rows of the pass, cols), owned
 * by the pass's blocks or, the logits, by the caller of ref_forward. */
struct ref_vals {
    double *x;
    double *var; /* squared bounds of x; NULL in a pass that does not track them */
    size_t cols;
};

/* One call of ref_forward. */
struct ref_pass {
    const struct ref_model *m; /* the caller's, like f and e */
    const struct ref_forward *f;
    struct ref_err *e;
    size_t rows;     /* tokens of all sequences */
    int32_t *pos;    /* (rows): position of each token in its sequence */
    bool *uncertain; /* (rows): true where another expert might have been chosen; see ref_values */
    struct ref_rope rope, rope_windowed; /* of full and of windowed layers, for this context */
    bool track;                          /* bounds are computed: the caller wants dev or sites */
    bool quiet; /* sites are not handed out, while operations run that are a part of one site */

    /* Four places of `capacity` values each, wide enough for any result that ref_pass_alloc made;
     * NULL in a pass that does not track. */
    double *local;            /* (rows, cols of the last result): bounds on its own errors */
    double *dev;              /* the roots that a site hands out */
    double *entering, *noise; /* what ref_pass_entering returns */
    size_t capacity;
    struct ref_blocks blocks; /* all other memory of the pass */
};

/* ---- memory and sites (pass.c) -------------------------------------------------------------- */

/* The functions that allocate return false, or NULL, when memory is exhausted, with the error
 * set. */

/* (rows, cols) values in p->blocks, zeroed. */
double *ref_pass_place(struct ref_pass *p, size_t cols);

/* Makes the four places wide enough for a result of cols columns. What they held is lost: nothing
 * is allocated between an operation and its site. */
bool ref_pass_widen(struct ref_pass *p, size_t cols);

/* Makes a result of cols columns with, in a pass that tracks, its squared bounds, and room in the
 * four places. */
bool ref_pass_alloc(struct ref_pass *p, size_t cols, struct ref_vals *out);
void ref_pass_free(struct ref_pass *p); /* p->blocks and the four places */

/* Asks the caller, before a layer, whether to stop; true with the error set. */
bool ref_pass_cancelled(struct ref_pass *p, uint32_t layer);

/* What is allocated between the two calls is freed by the second. begin returns the blocks that
 * were there before, which end puts back. */
struct ref_blocks ref_pass_begin(struct ref_pass *p);
void ref_pass_end(struct ref_pass *p, struct ref_blocks outer);

/* out: the values of `in` (the same array) with bounds of 0. Operations that start from it leave in
 * var the error that they make themselves, several in a row if need be. */
bool ref_pass_exact(struct ref_pass *p, const struct ref_vals *in, struct ref_vals *out);

/* Hands out the result v of the last operation, whose own bounds are in p->local. The second is for
 * a site that stands for several operations: `exact` is v computed once more from ref_pass_exact,
 * and its bounds are what local becomes. */
void ref_pass_site(struct ref_pass *p, enum site site, uint32_t layer, const struct ref_vals *v);
void ref_pass_site_local(struct ref_pass *p, enum site site, uint32_t layer,
                         const struct ref_vals *v, const struct ref_vals *exact);
/* True if the caller takes this site. */
bool ref_pass_wants(const struct ref_pass *p, enum site site, uint32_t layer);

/* dev = sqrt(var), or infinity in rows where another expert might have been chosen. dev may be
 * var. */
void ref_pass_roots(const struct ref_pass *p, const double *var, size_t cols, double *dev);

/* ---- operations (forward_ops.c) ------------------------------------------------------------ */

/* Each writes out->x and, in a pass that tracks, out->var, and leaves in p->local the bounds on its
 * own errors. out is allocated by the caller and is not `in` unless a comment allows it. */

/* out = rows ids[0] ... of a table; ids has one entry for each row of the pass. */
void ref_pass_embed(struct ref_pass *p, const struct ref_weight *table, const int32_t *ids,
                    struct ref_vals *out);
void ref_pass_linear(struct ref_pass *p, const struct ref_weight *w, const struct ref_vals *in,
                     struct ref_vals *out);
void ref_pass_norm(struct ref_pass *p, const struct ref_norm *norm, const struct ref_vals *in,
                   struct ref_vals *out); /* out may be in */
void ref_pass_rope(struct ref_pass *p, const struct ref_rope *r, size_t n_heads,
                   struct ref_vals *v); /* in place */

/* Rounds v in place to a type of the KV cache, and adds to var what the rounding of an engine with
 * other errors may cost (forward_cache.c). */
void ref_pass_cache(struct ref_pass *p, enum tensor_type type, struct ref_vals *v);

/* `in` as it enters a product with weights, or with a cache, of type `other`: `in` itself, or
 * rounded as the engine rounds it (forward_rounded.c). The rounded values lie in p->entering and
 * p->noise and are valid until the next call. Passes that do not track get `in` itself. */
struct ref_vals ref_pass_entering(const struct ref_pass *p, enum tensor_type other,
                                  const struct ref_vals *in);
/* Adds to var (rows, n), squares of bounds, what that rounding of x (rows, n) may cost. */
void ref_pass_noise(const struct ref_pass *p, enum tensor_type other, const double *x, size_t rows,
                    size_t n, double *var);

/* In place: gate = act(gate) up, or, if gate is NULL, up = act(up). */
void ref_pass_activate(struct ref_pass *p, enum ref_activation act, struct ref_vals *up,
                       struct ref_vals *gate);
void ref_pass_add(struct ref_pass *p, const struct ref_vals *what, double factor,
                  struct ref_vals *to); /* to += factor what */

/* In place, on the result v of the operation before: what these leave in p->local is the error of
 * both operations together. */
void ref_pass_scale(struct ref_pass *p, double factor, struct ref_vals *v);
void ref_pass_scale_row(struct ref_pass *p, size_t row, double factor, struct ref_vals *v);
void ref_pass_cap(struct ref_pass *p, double cap, struct ref_vals *v); /* cap tanh(v / cap) */

/* Columns of a result: n of each of n_groups groups, from column `first` of the group on. The
 * groups begin `stride` columns apart. */
struct ref_columns {
    size_t first, n, stride, n_groups;
};
/* Copies columns; `from` and `to` name equally many. */
void ref_pass_copy(struct ref_pass *p, const struct ref_vals *in, struct ref_columns from,
                   struct ref_vals *out, struct ref_columns to);

/* ---- attention and experts ------------------------------------------------------------------- */

/* Attention within each sequence (forward_attention.c); hands out SITE_SCORES and SITE_WEIGHTS. */
bool ref_pass_attend(struct ref_pass *p, uint32_t layer, const struct ref_vals *q,
                     const struct ref_vals *k, const struct ref_vals *v, struct ref_vals *out);

/* down(act(gate in) * (up in)), or down(act(up in)) without a gate (forward_ffn.c); hands out
 * SITE_GATE, SITE_UP and SITE_ACT. out may be in. */
bool ref_pass_ffn(struct ref_pass *p, uint32_t layer, const struct ref_ffn *w,
                  const struct ref_vals *in, struct ref_vals *out);

/* The mixture of experts of a layer (forward_experts.c); hands out SITE_ROUTER and marks
 * p->uncertain. out may be in. */
bool ref_pass_experts(struct ref_pass *p, uint32_t layer, const struct ref_vals *in,
                      struct ref_vals *out);

/* ---- layers (forward_layers.c) --------------------------------------------------------------- */

struct ref_places {
    struct ref_vals x;  /* the residual stream */
    struct ref_vals h;  /* in: the input of a part of a layer; out: its result, to be added to x */
    struct ref_vals h2; /* as h, for the feed-forward part of parallel layers */
};

/* The member `attention` of ordinary architectures: from a->h to a->h. */
bool ref_self_attention(struct ref_pass *p, uint32_t layer, struct ref_places *a);

/* The parts of a pass that are more than one operation above, without their sites, so that site.h
 * computes them by the same code. */

/* x: what enters layer 0. tokens has one id for each row of the pass; room is as wide as x. */
void ref_pass_tokens(struct ref_pass *p, const int32_t *tokens, struct ref_vals *x,
                     struct ref_vals *room);
/* SITE_Q_ROPE or SITE_K_ROPE, in place. */
void ref_pass_turn(struct ref_pass *p, enum site site, uint32_t layer, struct ref_vals *v);
/* What follows the product of SITE_LOGITS, in place. */
void ref_pass_finish(struct ref_pass *p, struct ref_vals *logits);

/* From the token ids of p->f to logits, with all sites between. */
bool ref_pass_model(struct ref_pass *p, struct ref_vals *logits);

#endif
