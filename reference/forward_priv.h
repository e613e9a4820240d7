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
 * Sci. Comput. 41 (2019), theorem 3.1, whose constant lambda is 8 here as in the marginal bounds
 * of ops.def. Since all rules are homogeneous, carrying bounds at lambda = 8 and adding them in
 * squares is the same as carrying standard deviations and multiplying by 8 at the end.
 *
 * local covers one evaluation by an engine whose inputs are the reference's, rounded to binary32
 * (u |x| each): that is what an engine gets whose inputs are replaced by the reference's. */
#ifndef REF_FORWARD_PRIV_H
#define REF_FORWARD_PRIV_H

#include "reference/model_priv.h"

/* (rows of the pass, cols). var NULL: not tracked. */
struct ref_vals {
    double *x, *var;
    size_t cols;
};

struct ref_pass {
    const struct ref_model *m;
    const struct ref_forward *f;
    struct ref_err *e;
    size_t rows;
    int32_t *pos;    /* rows: position of each token in its sequence */
    bool *uncertain; /* rows: an expert was chosen that might not have been; see ref_values */
    struct ref_rope rope, rope_windowed; /* with the factors of this context */
    bool track;
    bool quiet;      /* no sites */
    double *local;   /* (rows, cols of the last result); any of ref_pass_alloc fits */
    double *dev;     /* likewise: a place for the roots that sites hand out */
    double *entering, *noise; /* likewise: places for what ref_pass_entering returns */
    size_t capacity; /* of the four, in values */
    struct ref_blocks blocks;
};

/* ---- memory and sites (pass.c) -------------------------------------------------------------- */

double *ref_pass_place(struct ref_pass *p, size_t cols); /* (rows, cols) in p->blocks, zeroed */

/* Makes the four places wide enough for a result of cols columns. What they held is lost: nothing
 * is allocated between an operation and its site. */
bool ref_pass_widen(struct ref_pass *p, size_t cols);

/* Both of the above, for a result and, in a pass that tracks, its squared bounds. */
bool ref_pass_alloc(struct ref_pass *p, size_t cols, struct ref_vals *out);
void ref_pass_free(struct ref_pass *p); /* p->blocks and the four places */

bool ref_pass_cancelled(struct ref_pass *p, uint32_t layer); /* sets the error text */

/* What is allocated between the two is freed at the end. */
struct ref_blocks ref_pass_begin(struct ref_pass *p);
void ref_pass_end(struct ref_pass *p, struct ref_blocks outer);

/* The same values without error, for the error of several operations in a row. */
bool ref_pass_exact(struct ref_pass *p, const struct ref_vals *in, struct ref_vals *out);

/* Hands the last operation's result out; or that of several, computed once more from exact
 * inputs for their own error. */
void ref_pass_site(struct ref_pass *p, enum site site, uint32_t layer, const struct ref_vals *v);
void ref_pass_site_local(struct ref_pass *p, enum site site, uint32_t layer,
                         const struct ref_vals *v, const struct ref_vals *exact);
bool ref_pass_wants(const struct ref_pass *p, enum site site, uint32_t layer);

/* dev = sqrt(var), or infinity in rows where another expert might have been chosen. dev may be var. */
void ref_pass_roots(const struct ref_pass *p, const double *var, size_t cols, double *dev);

/* ---- operations (forward_ops.c) ------------------------------------------------------------ */

void ref_pass_embed(struct ref_pass *p, const struct ref_weight *table, const int32_t *ids,
                    struct ref_vals *out);
void ref_pass_linear(struct ref_pass *p, const struct ref_weight *w, const struct ref_vals *in,
                     struct ref_vals *out);
void ref_pass_norm(struct ref_pass *p, const struct ref_norm *norm, const struct ref_vals *in,
                   struct ref_vals *out); /* out may be in */
void ref_pass_rope(struct ref_pass *p, const struct ref_rope *r, size_t n_heads,
                   struct ref_vals *v); /* in place */

/* In place (forward_cache.c). */
void ref_pass_cache(struct ref_pass *p, enum tensor_type type, struct ref_vals *v);

/* `in` as it enters a product with something of a type: itself, or rounded as the engine does it, until
 * the next call (forward_rounded.c). Only in passes that track. */
struct ref_vals ref_pass_entering(const struct ref_pass *p, enum tensor_type other,
                                  const struct ref_vals *in);
/* Adds what that rounding may cost to the squares of the bounds of rows of n values. */
void ref_pass_noise(const struct ref_pass *p, enum tensor_type other, const double *x, size_t rows,
                    size_t n, double *var);

/* gate = act(gate) up, or up = act(up) if gate is NULL. */
void ref_pass_activate(struct ref_pass *p, enum ref_activation act, struct ref_vals *up,
                       struct ref_vals *gate);
void ref_pass_add(struct ref_pass *p, const struct ref_vals *what, double factor,
                  struct ref_vals *to); /* to += factor what */

/* These go with the operation before, whose result v must be: what they leave in p->local is the
 * error of both. */
void ref_pass_scale(struct ref_pass *p, double factor, struct ref_vals *v);
void ref_pass_scale_row(struct ref_pass *p, size_t row, double factor, struct ref_vals *v);
void ref_pass_cap(struct ref_pass *p, double cap, struct ref_vals *v); /* cap tanh(v / cap) */

/* n columns of each of n_groups groups, from `first` of each on; they are `stride` apart. */
struct ref_columns {
    size_t first, n, stride, n_groups;
};
void ref_pass_copy(struct ref_pass *p, const struct ref_vals *in, struct ref_columns from,
                   struct ref_vals *out, struct ref_columns to);

/* ---- attention and experts ------------------------------------------------------------------- */

/* Softmax attention within each sequence; calls SITE_SCORES and SITE_WEIGHTS itself. */
bool ref_pass_attend(struct ref_pass *p, uint32_t layer, const struct ref_vals *q,
                     const struct ref_vals *k, const struct ref_vals *v, struct ref_vals *out);

/* forward_ffn.c: down(act(gate in) * (up in)); sites GATE, UP, ACT. out may be in. */
bool ref_pass_ffn(struct ref_pass *p, uint32_t layer, const struct ref_ffn *w,
                  const struct ref_vals *in, struct ref_vals *out);

/* The mixture of experts of a layer; marks p->uncertain. out may be in. */
bool ref_pass_experts(struct ref_pass *p, uint32_t layer, const struct ref_vals *in,
                      struct ref_vals *out);

/* ---- layers (forward_layers.c) --------------------------------------------------------------- */

/* x: the residual stream; h, h2: input of a part of a layer, and its result, to be added to x. */
struct ref_places {
    struct ref_vals x, h, h2;
};

bool ref_self_attention(struct ref_pass *p, uint32_t layer, struct ref_places *a);
bool ref_pass_model(struct ref_pass *p, struct ref_vals *logits); /* token ids to logits */

#endif
