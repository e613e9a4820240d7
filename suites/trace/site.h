/* Sites of a pass computed from given inputs at the precision that an engine declares: what a
 * subject should have made of the values that it had. What makes a site is the reference's answer
 * (reference/ site.h); the rounding of inputs, sums and caches is added here. */
#ifndef LOCATE_SITE_H
#define LOCATE_SITE_H

#include "engine/gguf/gguf.h"
#include "reference/site.h"

/* A model as single operations need it. The container must outlive it. */
struct site_model {
    const struct gguf *g;
    const struct ref_model *ref;
    struct ref_shape shape;
    struct ref_hyper hyper; /* of layer 0, and of what is outside layers */
    bool whole;             /* every site of every layer has a value of its own */
};
struct site_model site_model_of(const struct gguf *g, const struct ref_model *ref);

/* What an engine declares: how it rounds the other operand of a product, in what it sums, what its
 * cache holds. TYPE_ID_END as activations: as types.def says for each weight type. */
/* SUM_OWN: f16 for products with weights of f16, as of engines with f16 vectors; else SUM_F64. */
enum site_accumulate { SUM_F64, SUM_F32, SUM_F16, SUM_OWN };
struct precision {
    enum tensor_type activations; /* TYPE_F64 = none, TYPE_F32, TYPE_F16, TYPE_ID_END */
    enum site_accumulate sum;
    enum tensor_type kv; /* that ref_cache_type knows */
};
extern const struct precision precision_exact;

/* x (rows, n) rounded to what a product with weights of type w gets. */
void precision_round(const struct precision *p, enum tensor_type w, double *x, size_t rows,
                     size_t n);
/* That type; TYPE_F64: x as it is. */
enum tensor_type precision_type(const struct precision *p, enum tensor_type w);

/* n values as a cache of a type gives them back; false: they do not fill its blocks. */
bool site_cached(enum tensor_type t, double *x, size_t n);

struct site_job {
    const struct site_model *m;
    enum site site;
    uint32_t layer;
    const int32_t *tokens;             /* (n_tokens) */
    size_t n_tokens, rows;             /* rows: the last ones of the tokens */
    const double *in[REF_SITE_INPUTS]; /* as in ref_site_job, but K and V before the cache */
    struct precision precision;
    bool show_hidden; /* SCORES of tokens to come too */
    /* (rows, cols of the site), zeros, or NULL: what an engine's own rounding of the inputs of a
     * product may add to the error of the sum. */
    double *border;
};
/* out (rows, cols of the site); mag likewise or NULL: the sum of the absolute terms of products and
 * sums, |out| of norms, softmax and activations, which roundings move by a part of themselves, else
 * 0. False when the site cannot be computed here. */
bool site_compute(const struct site_job *j, double *out, double *mag);

/* Runs a whole pass by site_compute; every result goes to out. ST_UNSUPPORTED: not every site of
 * the model can be computed here. */
struct recording;
enum status site_forward(const struct site_model *m, const int32_t *tokens, size_t n_tokens,
                         const struct precision *p, bool show_hidden, struct recording *out,
                         double *logits, struct err *e);

#endif
