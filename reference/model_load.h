/* What architectures load their models with. The first failure of a loader is kept and all later
 * calls do nothing, so that load functions can be written straight down and ask for it once. */
#ifndef REF_MODEL_LOAD_H
#define REF_MODEL_LOAD_H

#include "reference/forward_priv.h"
#include "reference/model_priv.h"

struct ref_loader {
    const struct ref_source *src;
    struct ref_model *m;
    struct ref_err *e;
    bool failed;
};

void ref_load_fail(struct ref_loader *l, const char *format, ...);
void ref_load_refuse(struct ref_loader *l, const char *format, ...);
void *ref_load_alloc(struct ref_loader *l, size_t count, size_t size); /* NULL after a failure */

/* ---- keys, given without the architecture's prefix (model_keys.c) -------------------------- */

enum { REF_NAME_CAP = 128, REF_PART_CAP = 64 }; /* whole names, and without their layer */
void ref_load_key(const struct ref_loader *l, const char *key, char *out); /* with the prefix */

/* A count is a whole number, 1 to 2^31 - 1; it may be given per layer if all layers agree.
 * Absent: the fallback, or a failure that names the key. */
bool ref_load_has(struct ref_loader *l, const char *key, double *out);
double ref_load_number(struct ref_loader *l, const char *key);
double ref_load_number_or(struct ref_loader *l, const char *key, double fallback);
uint32_t ref_load_count(struct ref_loader *l, const char *key);
uint32_t ref_load_count_or(struct ref_loader *l, const char *key, uint32_t fallback);
uint32_t ref_load_count_or_none(struct ref_loader *l, const char *key); /* absent or 0: 0 */

/* ---- tensors (model_tensors.c) --------------------------------------------------------------
 * name is without "blk.N." and without ".weight"; layer -1: of the model. maybe: absent gives
 * NULL, or data NULL. */

enum { REF_OF_MODEL = -1 };
bool ref_load_there(struct ref_loader *l, int layer, const char *name, struct ref_tensor *out);
void ref_load_missing(struct ref_loader *l, int layer, const char *name, const char *suffix);
const float *ref_load_vector(struct ref_loader *l, int layer, const char *name, size_t n);
const float *ref_load_vector_maybe(struct ref_loader *l, int layer, const char *name,
                                   const char *suffix, size_t n);

/* n_rows norms of n values. The bias comes with them; biased: there must be one. */
struct ref_norm ref_load_norm(struct ref_loader *l, int layer, const char *name, size_t n,
                              size_t n_rows);
struct ref_norm ref_load_norm_maybe(struct ref_loader *l, int layer, const char *name, size_t n,
                                    size_t n_rows);
void ref_load_norm_biased(struct ref_loader *l, int layer, const char *name,
                          const struct ref_norm *norm);

/* A matrix takes NAME.bias and NAME.scale with it, if there are any; biased: it must have one. */
struct ref_weight ref_load_matrix(struct ref_loader *l, int layer, const char *name, size_t n_in,
                                  size_t n_out);
struct ref_weight ref_load_matrix_maybe(struct ref_loader *l, int layer, const char *name,
                                        size_t n_in, size_t n_out);
void ref_load_biased(struct ref_loader *l, int layer, const char *name, const struct ref_weight *w);

/* n matrices: the slices of NAME with the rows of NAME.bias; or, where NAME ends in "_exps", one
 * tensor each as in old files. */
struct ref_weight *ref_load_slices(struct ref_loader *l, int layer, const char *name, size_t n_in,
                                   size_t n_out, size_t n);
struct ref_weight ref_rows_of(const struct ref_weight *w, size_t row, size_t n_rows);

/* ---- what architectures have in common (model_load.c, model_experts.c) --------------------- */

void ref_load_shape(struct ref_loader *l);     /* shape, layers, eps, kq_scale = 1/sqrt(head_dim) */
void ref_load_embedding(struct ref_loader *l); /* embd, output: tied if absent, output_norm */

/* Walks the layers: for (int i = 0; ref_load_layer(l, i); i++). */
bool ref_load_layer(struct ref_loader *l, int i);

/* Tables of RoPE factors that the architecture looks at; files with others are refused. */
enum ref_rope_tables {
    REF_TABLES_NONE,
    REF_TABLES_LLAMA, /* rope_freqs; long and short ones if the type of scaling is longrope */
    REF_TABLES_PHI3,  /* long and short ones */
};
void ref_load_rope(struct ref_loader *l, enum ref_rope_tables tables); /* rope, rope_windowed */
void ref_load_whole_heads(struct ref_loader *l); /* no partial rotation in this architecture */
void ref_load_plain_windowed_rope(struct ref_loader *l, double freq_base); /* not scaled */

void ref_load_granite_scales(struct ref_loader *l); /* four factors, and RoPE or not */
uint32_t ref_load_window_or(struct ref_loader *l, uint32_t fallback); /* 0: none */

/* Windows of `window` tokens (0: none) in the layers that the key sliding_window_pattern names;
 * without it in all but the last of every `period` layers. */
void ref_load_windows(struct ref_loader *l, uint32_t window, uint32_t period);

/* Biases that must be there. */
enum ref_biases { REF_BIAS_MAYBE, REF_BIAS_QKV, REF_BIAS_ALL };
void ref_load_attention(struct ref_loader *l, int layer, enum ref_biases biases); /* q k v o */
void ref_load_pre_norm(struct ref_loader *l, int layer, enum ref_biases biases);  /* and norms */
void ref_load_pre_norms_biased(struct ref_loader *l, int layer); /* biases must be there */
void ref_load_post_norms(struct ref_loader *l, int layer);
void ref_load_qk_norms(struct ref_loader *l, int layer);   /* of head_dim values */
void ref_load_head_norms(struct ref_loader *l, int layer); /* a row per head; may be absent */
void ref_load_gated(struct ref_loader *l, int layer, enum ref_activation act);
void ref_load_fused_gated(struct ref_loader *l, int layer, enum ref_activation act);
void ref_load_plain(struct ref_loader *l, int layer, enum ref_biases biases); /* GELU */
void ref_load_all_biased(struct ref_loader *l); /* output_norm; two norms and GELU in every layer */

/* Experts: their number and groups come from keys. fused: the tensor ffn_gate_up_exps may stand
 * for two. */
bool ref_load_has_experts(struct ref_loader *l);
size_t ref_load_expert_length(struct ref_loader *l); /* or n_ff, shared by the experts in use */
struct ref_router ref_load_router(struct ref_loader *l, enum ref_gating gating, bool normalise);
void ref_load_experts(struct ref_loader *l, int layer, const struct ref_router *router,
                      enum ref_activation act, size_t n_ff, bool fused);
void ref_load_experts_biased(struct ref_loader *l, int layer); /* biases must be there */
void ref_load_mixtral(struct ref_loader *l, int layer);        /* experts, or SwiGLU without any */
void ref_load_shared_expert(struct ref_loader *l, int layer, size_t n_ff); /* 0: none */

#endif
