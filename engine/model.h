/* A model as its file describes it: hyper-parameters and the weight table by role. Weights stay
 * where the file has them; a session puts them on a backend. */
#ifndef MODEL_H
#define MODEL_H

#include "backend.h"
#include "engine.h"
#include "gguf.h"
#include "rope_table.h"

/* How a session has to hand a tensor to its backend. */
enum tensor_use {
    TENSOR_MATRIX, /* as it is */
    TENSOR_VECTOR, /* as f32: norms and biases */
    TENSOR_HOST,   /* read here, never uploaded */
};

/* A tensor, or some rows of one. Views into the file. */
struct model_tensor {
    const char *name;
    const struct type_spec *type;
    const uint8_t *data;
    size_t bytes;
    uint32_t n_in, n_out;
    enum tensor_use use;
};

/* Roles hold indices into model.tensors; 0 is "the file has none". */
struct linear {
    uint32_t w, bias;
    float factor; /* on the product, before the bias; 1 = none */
};

struct layer_weights {
    uint32_t attn_norm, ffn_norm;
    struct linear q, k, v, attn_output;
    struct linear gate, up, down;
};

struct hyper {
    uint32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, n_ctx;
    float norm_eps;
    float attn_scale;
    struct rope_params rope;
};

struct engine_model {
    struct gguf *gguf;
    struct gguf own; /* what gguf points to, if the model opened it */
    bool owns_gguf;
    struct arena arena;
    const struct arch *arch;
    struct hyper h;

    struct model_tensor *tensors; /* (n_tensors); entry 0 unused */
    uint32_t n_tensors, cap_tensors;
    bool *claimed; /* by index of the file's tensors: some role holds it */

    uint32_t token_embd, output_norm;
    struct linear output;
    struct layer_weights *layers;               /* (n_layers) */
    uint32_t rope_freqs, rope_long, rope_short; /* divisors of RoPE frequencies */

    struct tokenizer *tokenizer;
    char tokenizer_why[400];
};

/* ---- reading a file: what engine/arch/ loads with ---------------------------------------- */

/* Metadata: key is what follows "<architecture>.". The plain ones require it; an array counts as
 * its element if all are equal (a layer's own value is not supported). */
enum status model_key_u32(struct engine_model *m, const char *key, uint32_t *out, struct err *e);
enum status model_key_u32_or(struct engine_model *m, const char *key, uint32_t absent,
                             uint32_t *out, struct err *e);
enum status model_key_f64(struct engine_model *m, const char *key, double *out, struct err *e);
enum status model_key_f64_or(struct engine_model *m, const char *key, double absent, double *out,
                             struct err *e);

/* Sizes that all architectures have: fills h but for eps, scale and rope. */
enum status model_load_sizes(struct engine_model *m, struct err *e);
/* Everything about RoPE but the pairing's choice, and the tensors of frequency divisors. */
enum status model_load_rope(struct engine_model *m, enum rope_pairing pairing, struct err *e);

enum { NO_LAYER = -1 };

/* "blk.LAYER.ROLE.weight", or "ROLE.weight" without a layer. */
struct tensor_want {
    int layer;
    const char *role;
    uint32_t n_in, n_out;
    enum tensor_use use;
    bool optional;
};
/* *out = 0 if optional and absent. A shape or type that does not fit is an error with names. */
enum status model_load_tensor(struct engine_model *m, const struct tensor_want *w, uint32_t *out,
                              struct err *e);
/* A matrix with its optional .bias and .scale. */
enum status model_load_linear(struct engine_model *m, const struct tensor_want *w,
                              struct linear *out, struct err *e);
/* attn_q, attn_k, attn_v of a layer, apart or fused as attn_qkv. */
enum status model_load_qkv(struct engine_model *m, uint32_t layer, struct err *e);
/* token_embd, output_norm, and output, which is token_embd if absent. */
enum status model_load_ends(struct engine_model *m, struct err *e);

#endif
