/* What architectures load their models with. After the first failure, whose error is kept, all
 * later calls do nothing and return NULL or a harmless number; so load functions are written
 * straight down, without a check after each call. Names of keys and tensors are those of
 * reference/spec/operations.md, "Metadata and shapes". */
#ifndef REF_MODEL_LOAD_H
#define REF_MODEL_LOAD_H

#include "reference/forward_priv.h"
#include "reference/model_priv.h"

struct ref_loader {
    const struct ref_source *src; /* the caller's, like e */
    struct ref_model *m;          /* what is being filled */
    struct ref_err *e;
    bool failed; /* e is set */
};

/* Both set the error, if it is the first. refuse: the file is well-formed, but not computed. */
void ref_load_fail(struct ref_loader *l, const char *format, ...);
void ref_load_refuse(struct ref_loader *l, const char *format, ...);

/* Zeroed memory that lives as long as the model; NULL after a failure. */
void *ref_load_alloc(struct ref_loader *l, size_t count, size_t size);

/* ---- keys, given without the architecture's prefix (model_keys.c) -------------------------- */

enum { REF_NAME_CAP = 128, REF_PART_CAP = 64 }; /* bytes of whole names, and of those of a part */

/* out (REF_NAME_CAP): the key with its prefix. */
void ref_load_key(const struct ref_loader *l, const char *key, char *out);

/* A count is a whole number from 1 to 2^31 - 1. It may be an array with an entry for each layer, if
 * all entries agree. If the key is absent, the functions return the fallback, or fail with its
 * name. */
bool ref_load_has(struct ref_loader *l, const char *key, double *out);
double ref_load_number(struct ref_loader *l, const char *key);
double ref_load_number_or(struct ref_loader *l, const char *key, double fallback);
uint32_t ref_load_count(struct ref_loader *l, const char *key);
uint32_t ref_load_count_or(struct ref_loader *l, const char *key, uint32_t fallback);
uint32_t ref_load_count_or_none(struct ref_loader *l, const char *key); /* absent or 0: 0 */

/* Reads the two counts of experts, which must both be 0 or both not, into the shape. True if the
 * model has experts. */
bool ref_load_has_experts(struct ref_loader *l);

/* ---- tensors (model_tensors.c) -------------------------------------------------------------- */

/* name is without "blk.N." and without ".weight"; layer REF_OF_MODEL: a tensor of the model, not of
 * a layer. A tensor that is absent, or has another shape, is a failure that names it; with "maybe"
 * in the function's name an absent one gives NULL, or data (w, of a norm) NULL. Vectors and norms
 * are decoded to floats that live as long as the model; matrices stay where the source has them. */
enum { REF_OF_MODEL = -1 };

/* True if NAME.weight is there, of any shape. */
bool ref_load_there(struct ref_loader *l, int layer, const char *name, struct ref_tensor *out);
void ref_load_missing(struct ref_loader *l, int layer, const char *name, const char *suffix);
const float *ref_load_vector(struct ref_loader *l, int layer, const char *name, size_t n);
const float *ref_load_vector_maybe(struct ref_loader *l, int layer, const char *name,
                                   const char *suffix, size_t n);

/* n_rows norms of n values each, with their bias if the file has it. biased: fails if there is a
 * norm and it has no bias. */
struct ref_norm ref_load_norm(struct ref_loader *l, int layer, const char *name, size_t n,
                              size_t n_rows);
struct ref_norm ref_load_norm_maybe(struct ref_loader *l, int layer, const char *name, size_t n,
                                    size_t n_rows);
void ref_load_norm_biased(struct ref_loader *l, int layer, const char *name,
                          const struct ref_norm *norm);

/* A matrix of n_out rows of n_in weights, with NAME.bias and NAME.scale if the file has them.
 * biased: fails if there is a matrix and it has no bias. */
struct ref_weight ref_load_matrix(struct ref_loader *l, int layer, const char *name, size_t n_in,
                                  size_t n_out);
struct ref_weight ref_load_matrix_maybe(struct ref_loader *l, int layer, const char *name,
                                        size_t n_in, size_t n_out);
void ref_load_biased(struct ref_loader *l, int layer, const char *name, const struct ref_weight *w);

/* n matrices (n of them are returned): the slices of NAME, with the rows of NAME.bias. Where a NAME
 * that ends in "_exps" is absent, they are one tensor each, as in old files. */
struct ref_weight *ref_load_slices(struct ref_loader *l, int layer, const char *name, size_t n_in,
                                   size_t n_out, size_t n);
/* n_rows rows of a matrix from `row` on, with their bias. */
struct ref_weight ref_rows_of(const struct ref_weight *w, size_t row, size_t n_rows);

/* ---- what architectures have in common (model_load.c, model_experts.c) --------------------- */

void ref_load_shape(struct ref_loader *l);     /* shape, layers, eps, kq_scale = 1/sqrt(head_dim) */
void ref_load_embedding(struct ref_loader *l); /* embd, output: tied if absent, output_norm */

/* True while layer i is to be loaded: for (int i = 0; ref_load_layer(l, i); i++). */
bool ref_load_layer(struct ref_loader *l, int i);

/* Which factor tensors of RoPE the architecture uses; files with others are refused. See
 * reference/spec/operations.md, "RoPE factor tensors". */
enum ref_rope_tables {
    REF_TABLES_NONE,
    REF_TABLES_LLAMA, /* rope_freqs; the long and short ones if rope.scaling.type is longrope */
    REF_TABLES_PHI3,  /* the long and short ones */
};
void ref_load_rope(struct ref_loader *l, enum ref_rope_tables tables); /* rope and rope_windowed */
void ref_load_whole_heads(struct ref_loader *l); /* fails if the rotation is partial */
/* RoPE of windowed layers: this base, no scaling. */
void ref_load_plain_windowed_rope(struct ref_loader *l, double freq_base);

/* The four factors of granite, and whether it has RoPE. */
void ref_load_granite_scales(struct ref_loader *l);
uint32_t ref_load_window_or(struct ref_loader *l, uint32_t fallback); /* in tokens; 0: none */

/* Gives a window of `window` tokens (0: none) to the layers that the key sliding_window_pattern
 * names, or, without that key, to all but the last of every `period` layers. */
void ref_load_windows(struct ref_loader *l, uint32_t window, uint32_t period);

/* Which matrices must have a bias: none, those of Q, K and V, or all. */
enum ref_biases { REF_BIAS_MAYBE, REF_BIAS_QKV, REF_BIAS_ALL };

/* Parts of a layer. */
void ref_load_attention(struct ref_loader *l, int layer, enum ref_biases biases); /* q, k, v, o */
/* The attention, with attn_norm and ffn_norm. */
void ref_load_pre_norm(struct ref_loader *l, int layer, enum ref_biases biases);
void ref_load_pre_norms_biased(struct ref_loader *l, int layer); /* fails if they have no bias */
void ref_load_post_norms(struct ref_loader *l, int layer);
void ref_load_qk_norms(struct ref_loader *l, int layer);   /* of head_dim values, for all heads */
void ref_load_head_norms(struct ref_loader *l, int layer); /* a row for each head; may be absent */
void ref_load_gated(struct ref_loader *l, int layer, enum ref_activation act);
void ref_load_fused_gated(struct ref_loader *l, int layer, enum ref_activation act);
void ref_load_plain(struct ref_loader *l, int layer, enum ref_biases biases); /* plain GELU */

/* All layers of a model in which every matrix and every norm has a bias: attention, two norms,
 * plain GELU; and the bias of output_norm. */
void ref_load_all_biased(struct ref_loader *l);

/* Experts. Their number and groups come from keys. */
size_t ref_load_expert_length(struct ref_loader *l); /* the key, or n_ff / experts in use */
struct ref_router ref_load_router(struct ref_loader *l, enum ref_gating gating, bool normalise);
/* fused: the tensor ffn_gate_up_exps may stand for the two. */
void ref_load_experts(struct ref_loader *l, int layer, const struct ref_router *router,
                      enum ref_activation act, size_t n_ff, bool fused);
void ref_load_experts_biased(struct ref_loader *l, int layer); /* fails if they have no bias */
void ref_load_mixtral(struct ref_loader *l, int layer); /* experts as mixtral has them, or SwiGLU */
void ref_load_shared_expert(struct ref_loader *l, int layer, size_t n_ff); /* n_ff 0: none */

#endif
