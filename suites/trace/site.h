/* One site of a pass computed on its own, from given inputs, in double precision: what a subject
 * should have made of the values that it had. Also at lower precision, as engines declare it. What is
 * not computed: experts, and latent attention between its sites. */
#ifndef LOCATE_SITE_H
#define LOCATE_SITE_H

#include "engine/gguf/gguf.h"
#include "reference/ref.h"

/* KIND_NONE: this file does not compute it. */
enum site_kind {
    KIND_NONE,
    KIND_EMBED,
    KIND_NORM,
    KIND_LINEAR,
    KIND_ROPE,
    KIND_SCORES,
    KIND_SOFTMAX,
    KIND_ATTENTION,
    KIND_ADD,
    KIND_ACT
};

enum { SITE_INPUTS = 3 };

struct site_fact {
    enum site_kind kind;
    const char *title;  /* "K projection" */
    const char *op;     /* row of ops.def: "matvec" */
    const char *tensor; /* "attn_k": blk.N.attn_k.weight; NULL: none */
    enum site in[SITE_INPUTS];
    size_t n_in;
};
/* Of a plain layer of llama, and names of tensors and titles of what other layers have. */
extern const struct site_fact site_facts[SITE_COUNT];
const char *site_title(enum site site);

/* As an input: what a layer takes in, RESID_2 of the layer before or EMBD. */
#define SITE_INPUT SITE_COUNT

/* A model as single operations need it. The container must outlive it. */
struct site_model {
    const struct gguf *g;
    const struct ref_model *ref;
    struct ref_shape shape;
    struct ref_hyper hyper; /* of layer 0, and of what is outside layers */
    char arch[32];
    bool gelu;  /* else SiLU */
    bool whole; /* every site can be computed here */
};
struct site_model site_model_of(const struct gguf *g, const struct ref_model *ref);

/* Whether a layer has the site, what makes it there, and the site and layer that its input i comes
 * from. */
bool site_there(const struct site_model *m, enum site site, uint32_t layer);
struct site_fact site_fact_of(const struct site_model *m, enum site site, uint32_t layer);
void site_input(const struct site_model *m, enum site site, uint32_t layer, size_t i,
                enum site *from, uint32_t *from_layer);

/* (n_heads), or NULL: none. */
const float *site_sinks(const struct site_model *m, uint32_t layer);

/* A norm over groups of n values; group g of a token takes row g % n_rows of w and b. */
struct site_norm {
    const float *w, *b; /* b NULL: none */
    size_t n, n_rows;
    bool layer_norm; /* else RMS */
};
bool site_norm(const struct site_model *m, enum site site, uint32_t layer, struct site_norm *out);

/* y = scale W x + bias; rows of a fused tensor are taken apart. False: the model has none. */
struct site_weight {
    enum tensor_type type;
    const uint8_t *data;
    size_t n_in, n_out;
    const float *bias;
    double scale;
    char name[64];
};
bool site_weight(const struct site_model *m, enum site site, uint32_t layer, struct site_weight *w);
size_t site_columns(const struct site_model *m, enum site site, size_t n_tokens);

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
    const int32_t *tokens;         /* (n_tokens) */
    size_t n_tokens, rows;         /* rows: the last ones of the tokens */
    const double *in[SITE_INPUTS]; /* (rows, cols of that site); K, V and scores: all tokens */
    struct precision precision;
    bool show_hidden; /* SCORES of tokens to come too */
    /* (rows, cols of the site), zeros, or NULL: what an engine's own rounding of the inputs of a product
     * may add to the error of the sum. */
    double *border;
};
/* out (rows, cols of the site); mag likewise or NULL: the sum of the absolute terms of products and
 * sums, |out| of norms, softmax and activations, which roundings move by a part of themselves, else
 * 0. False when the site cannot be computed here. */
bool site_compute(const struct site_job *j, double *out, double *mag);

/* Runs a whole pass by site_compute; every result goes to out. ST_UNSUPPORTED: not every site of the
 * model can be computed here. */
struct recording;
enum status site_forward(const struct site_model *m, const int32_t *tokens, size_t n_tokens,
                         const struct precision *p, bool show_hidden, struct recording *out,
                         double *logits, struct err *e);

#endif
