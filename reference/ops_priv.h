/* What the files of the reference share about single operations: the matrix product with bounds,
 * dot products, and the parts of attention and of the choice of experts. */
#ifndef REF_OPS_PRIV_H
#define REF_OPS_PRIV_H

#include "reference/ref.h"

#include <math.h>

/* Unit roundoff of binary32 (round to nearest): |fl(x) - x| <= u |x|. */
#define REF_U 0x1p-24

/* ref_matmul that also propagates squared bounds: var (n_cols, n_out) = sum_k w_ik^2 x_var_k. mag
 * may be NULL, and so may x_var and var together. */
struct ref_product {
    enum tensor_type type;
    const uint8_t *w; /* n_out rows of n_in weights */
    size_t n_out, n_in, n_cols;
    const double *x, *x_var; /* (n_cols, n_in) */
    const float *bias;       /* (n_out); NULL: none */
    double *y, *mag, *var;   /* (n_cols, n_out) */
};
void ref_product(const struct ref_product *p);

double ref_dot(const double *a, const double *b, size_t n);     /* sum a b, in a fixed order */
double ref_dot_abs(const double *a, const double *b, size_t n); /* sum |a b|, likewise */

/* True if a token sees a cell; see struct ref_attention. */
bool ref_attention_sees(const struct ref_attention *a, size_t token, size_t cell);
static inline size_t ref_attention_value_dim(const struct ref_attention *a)
{
    return a->value_dim ? a->value_dim : a->head_dim;
}

/* The parts of ref_route, in the order in which it runs them. The first n_experts entries count. */
struct ref_choice {
    double selection[REF_MAX_EXPERTS]; /* what experts are chosen by: probability and bias */
    bool allowed[REF_MAX_EXPERTS];     /* the expert's group is kept */
    bool chosen[REF_MAX_EXPERTS];
    uint32_t ids[REF_MAX_EXPERTS]; /* the n_used that are chosen, by descending selection value */
};
/* probs (n_experts): softmax or sigmoid of the logits, or the logits, as r->gating says. */
void ref_gate(const struct ref_router *r, const double *logits, double *probs);
void ref_choose(const struct ref_router *r, const double *probs, struct ref_choice *c);

/* Sum of the two largest of the n values of a group, and their indices in it; where n is 1, the
 * value itself, and twice its index. */
double ref_group_score(const double *selection, uint32_t n, uint32_t best[2]);

/* weights (n_used) of the chosen experts, in the order of ids. Returns what they were divided by,
 * or 0 if they were not. */
double ref_expert_weights(const struct ref_router *r, const double *probs, const uint32_t *ids,
                          double *weights);

/* Bound on the own error of cap tanh(x / cap), absolute: a tanh that is made of exponentials,
 * (e - 1/e) / (e + 1/e), is off by a few u whatever its value. */
static inline double ref_cap_local(double cap)
{
    return 8 * REF_U * fabs(cap);
}

/* *first and *second: the two values of a head that a pair consists of. */
void ref_rope_pair(const struct ref_rope *r, uint32_t pair, size_t *first, size_t *second);

#endif
