/* What the reference's own files share: the matrix product with variances, and a dot product. */
#ifndef REF_OPS_PRIV_H
#define REF_OPS_PRIV_H

#include "reference/ref.h"

#include <math.h>

/* Unit roundoff of binary32 (round to nearest): |fl(x) - x| <= u |x|. */
#define REF_U 0x1p-24

/* ref_matmul with the propagation of variances beside it: var(n_cols, n_out) = sum_k w_ik^2
 * x_var_k. mag and the pair x_var, var may be NULL. */
struct ref_product {
    enum tensor_type type;
    const uint8_t *w; /* n_out rows of n_in weights */
    size_t n_out, n_in, n_cols;
    const double *x, *x_var; /* (n_cols, n_in) */
    const float *bias;       /* n_out, or NULL */
    double *y, *mag, *var;   /* (n_cols, n_out) */
};
void ref_product(const struct ref_product *p);

double ref_dot(const double *a, const double *b, size_t n);     /* sum a b, in a fixed order */
double ref_dot_abs(const double *a, const double *b, size_t n); /* sum |a b| */

bool ref_attention_sees(const struct ref_attention *a, size_t token, size_t cell);
static inline size_t ref_attention_value_dim(const struct ref_attention *a)
{
    return a->value_dim ? a->value_dim : a->head_dim;
}

/* The parts of ref_route. selection: what the choice goes by; allowed: in a group that is kept. */
struct ref_choice {
    double selection[REF_MAX_EXPERTS];
    bool allowed[REF_MAX_EXPERTS], chosen[REF_MAX_EXPERTS];
    uint32_t ids[REF_MAX_EXPERTS]; /* n_used, by descending selection value */
};
void ref_gate(const struct ref_router *r, const double *logits, double *probs);
void ref_choose(const struct ref_router *r, const double *probs, struct ref_choice *c);

/* Sum of the two largest values of a group of n (or the one there is), and where they are. */
double ref_group_score(const double *selection, uint32_t n, uint32_t best[2]);

/* weights of the chosen, in the order of ids. Returns what they were divided by; 0: nothing. */
double ref_expert_weights(const struct ref_router *r, const double *probs, const uint32_t *ids,
                          double *weights);

/* Bound on the own error of cap tanh(x / cap): a tanh made of exponentials, (e - 1/e)/(e + 1/e), is
 * off by a few u whatever its value. */
static inline double ref_cap_local(double cap)
{
    return 8 * REF_U * fabs(cap);
}

/* The two elements of a head that pair p of the rotation turns. */
void ref_rope_pair(const struct ref_rope *r, uint32_t pair, size_t *first, size_t *second);

#endif
