/* What the values at a site of a model are made from, and the values themselves from inputs that
 * the caller has: the same operations as in a forward pass, one site at a time. Experts, and latent
 * attention between its sites, stand for several operations in a row and have no value here. */
#ifndef REF_SITE_H
#define REF_SITE_H

#include "reference/ref.h"

/* y = scale W x + bias. Data, bias and name are the model's or its source's. */
struct ref_weight {
    enum tensor_type type;
    const uint8_t *data; /* n_out rows of n_in; NULL: the model has no such matrix */
    size_t n_in, n_out;
    const float *bias; /* (n_out); NULL: none */
    double scale;
    const char *name; /* of the tensor that the rows are of: "blk.0.attn_qkv.weight" */
};

/* Normalises each group of n values of a row; group g takes row g % n_rows of w and b. */
struct ref_norm {
    const float *w; /* (n_rows, n); NULL: the model has no such norm */
    const float *b; /* (n_rows, n); NULL: no bias */
    size_t n, n_rows;
    const char *role; /* "attn_norm" of blk.0.attn_norm.weight; a literal */
};

enum ref_activation {
    REF_ACT_SILU,
    REF_ACT_GELU,
    REF_ACT_CLAMPED, /* ref_clamped_swiglu: only with a gate */
};

enum ref_site_kind {
    REF_SITE_SEVERAL, /* several operations in a row: there is no value */
    REF_SITE_EMBED,
    REF_SITE_NORM,
    REF_SITE_LINEAR,
    REF_SITE_ROPE,
    REF_SITE_SCORES,
    REF_SITE_SOFTMAX,
    REF_SITE_ATTENTION,
    REF_SITE_ADD,
    REF_SITE_ACT
};

enum { REF_SITE_INPUTS = 3 };

/* The operation that makes a site of a layer. */
struct ref_site {
    enum ref_site_kind kind;
    const char *title; /* "K projection" */
    const char *op;    /* a row of ops.def, or words where the kind is SEVERAL */
    /* Role of the tensor that the operation takes, "attn_k" of blk.N.attn_k.weight. Where matrices
     * are fused, it is what a file calls the part that has them apart; NULL: it takes none. */
    const char *tensor;
    /* The sites, and their layers, whose values go in. ROPE, NORM, LINEAR: the vectors; SCORES: Q,
     * K; ATTENTION: Q, K, V; SOFTMAX: scores; ADD: the branch, the stream; ACT: gate and up, or,
     * without a gate, up. */
    enum site in[REF_SITE_INPUTS];
    uint32_t in_layer[REF_SITE_INPUTS];
    size_t n_in;
    struct ref_weight weight; /* LINEAR, EMBED; else data is NULL */
    struct ref_norm norm;     /* NORM; else w is NULL */
    enum ref_activation act;  /* ACT */
    const float *sinks;       /* SCORES, SOFTMAX, ATTENTION: (n_heads); NULL: none */
};

/* True if the layer (0 for sites of the model) has the site, in the order of sites.def. A pass
 * hands out these and no others, but for SCORES and WEIGHTS, which take as much memory as they
 * want. */
bool ref_site_there(const struct ref_model *m, enum site site, uint32_t layer);

/* What makes the site in this layer, whether the layer has it or not. m NULL, or a layer beyond the
 * model's: what makes it in a plain layer of llama, without weights. */
struct ref_site ref_site_of(const struct ref_model *m, enum site site, uint32_t layer);

/* Values of a token at the site; SCORES and WEIGHTS: among n_tokens tokens. */
size_t ref_site_columns(const struct ref_model *m, enum site site, size_t n_tokens);

/* What a product at the site goes through: the factor and the soft cap of LOGITS; elsewhere y. */
double ref_site_finish(const struct ref_model *m, enum site site, double y);

/* Inputs of a site: one sequence from position 0. */
struct ref_site_job {
    const struct ref_model *m;
    enum site site;
    uint32_t layer;
    const int32_t *tokens; /* (n_tokens) */
    size_t n_tokens, rows; /* rows: how many of the last tokens the value is wanted of */
    /* in[i]: the values of input i of ref_site_of, (rows, its columns); K, V and scores have rows
     * for all tokens. K and V are taken as they are: the caller rounds them as a cache would. */
    const double *in[REF_SITE_INPUTS];
    bool show_hidden; /* SCORES: those of tokens to come too, not -inf */
    /* How the sum over a row of weights (n) and a vector (n) is made; NULL: in double. */
    double (*dot)(const float *w, const double *x, size_t n);
};

/* out (rows, columns of the site); mag, which may be NULL: for LINEAR and ADD the sum of the
 * absolute terms, for NORM, SOFTMAX and ACT |out|, of which roundings are a part, else 0. False if
 * the site stands for several operations, its weights are not there, or memory is exhausted. */
bool ref_site_value(const struct ref_site_job *j, double *out, double *mag);

#endif
