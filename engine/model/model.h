/* A model as its file describes it: hyper-parameters and the weight table by role. Weights stay
 * where the file has them; a session puts them on a backend. */
#ifndef MODEL_H
#define MODEL_H

#include "engine/backend.h"
#include "engine/base/try.h"
#include "engine/engine.h"
#include "engine/gguf/gguf.h"
#include "engine/model/rope_table.h"

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
    const uint8_t *const *parts; /* one view per matrix where the file has them apart; data NULL */
    size_t bytes;                /* of all */
    uint32_t n_in, n_out, n_mats;
    enum tensor_use use;
};

/* Roles hold indices into model.tensors; 0 is "the file has none". */
struct linear {
    uint32_t w, bias;
    float factor; /* on the product, before the bias; 1 = none */
};

/* n_mats matrices of one shape: experts, or heads. */
struct stack {
    uint32_t w, bias; /* bias (n_mats, n_out) */
    uint32_t factors; /* (n_mats) on the products; 0: none */
    uint32_t n_mats, n_in, n_out;
};

/* Normalises groups of n values, group g by row g % rows of w and b. */
struct norm {
    uint32_t w, b; /* w 0: no such norm */
    uint32_t n, rows;
};

enum norm_kind { NORM_RMS, NORM_LAYER };
enum bias_rule { BIAS_MAYBE, BIAS_REQUIRED, BIAS_NONE };
enum activation { ACT_SILU, ACT_GELU, ACT_SWIGLU_OAI }; /* the last only with a gate */

/* down(act(gate x) * (up x)), or down(act(up x)) without a gate. */
struct ffn {
    struct linear gate, up, down;
    enum activation act;
    uint32_t n_ff;
};

/* sum_e w_e FFN_e(x) over the chosen experts, + shared(x) [* sigmoid(shared_gate x)]. */
struct moe {
    struct linear router; /* w 0: the layer has no experts */
    uint32_t select_bias; /* (n_experts) on the values that experts are chosen by */
    struct stack gate, up, down;
    struct stack gate_up; /* in place of gate and up: rows of gate, then of up */
    enum activation act;
    struct ffn shared; /* up.w 0: none */
    struct linear shared_gate;
};

/* Attention over latent vectors (pass/mla.c). Keys and values come from kv_b, or k_b goes into the
 * query and v_b behind the attention, which then runs over the latents themselves. */
struct mla {
    struct linear q_a, q_b; /* q_a.w 0: q alone makes the queries */
    struct linear kv_a;     /* w 0: the layer has no such attention */
    struct linear kv_b;
    struct norm q_a_norm, kv_a_norm;
    struct stack k_b, v_b; /* one matrix per head */
};

/* What a file has not, the pass leaves out. Without ffn_norm the feed-forward reads what the
 * attention read, if both start from the same x, or x itself. */
struct layer_weights {
    struct norm attn_norm, q_norm, k_norm, attn_post_norm, ffn_norm, ffn_post_norm;
    struct linear q, k, v, attn_output;
    uint32_t sinks; /* (n_heads) */
    bool windowed;
    struct mla mla;
    struct ffn ffn;
    struct moe moe;
};

/* Expert choice, as struct op_route has it. */
struct router {
    uint32_t n_experts, n_used, n_groups, n_groups_used;
    enum route_gating gating;
    bool normalise;
    float scale;
};

/* head_dim, value_dim, n_kv_heads: of what the cache holds. */
struct hyper {
    uint32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, value_dim, n_ff, n_vocab, n_ctx;
    enum norm_kind norm;
    enum bias_rule norm_bias; /* of norms of n_embd values */
    float norm_eps;
    float attn_scale, attn_cap; /* cap 0: none */
    uint32_t window;            /* tokens that windowed layers see, itself included; 0: none do */
    bool parallel;              /* attention and feed-forward start from the same x */
    float embd_scale, residual_scale, logit_scale; /* 1: none */
    float logit_cap;                               /* 0: none */
    double temperature; /* q *= ln(floor(pos / rope.n_ctx_orig) + 1) temperature + 1 */
    struct rope_params rope, rope_windowed; /* n_dims 0: no rotation */
    struct router router;                   /* n_experts 0: none */
    uint32_t n_ff_expert, n_ff_shared;
    struct {
        uint32_t n_latent, n_query;  /* ranks of keys and values, and of queries (0: not reduced) */
        uint32_t key_dim, value_dim; /* of a head before the latents are taken in */
    } mla;
};

/* An architecture, as a file names it. The table is arch/archs.c. */
struct arch {
    const char *name; /* general.architecture */
    enum status (*load)(struct engine_model *m, struct err *e);
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

    uint32_t token_embd, pos_embd; /* pos_embd 0: none */
    struct norm output_norm;
    struct linear output;
    struct layer_weights *layers;               /* (n_layers) */
    uint32_t rope_freqs, rope_long, rope_short; /* divisors of RoPE frequencies */

    struct tokenizer *tokenizer;
    char tokenizer_why[400];
};

/* ---- reading a file: what engine/arch/ loads with ---------------------------------------- */

/* Metadata: key is what follows "<architecture>.". The plain ones require it; an array counts as
 * its element if all are equal (a layer's own value is not supported). */
enum { MODEL_KEY_CAP = 96 };
void model_key_name(const struct engine_model *m, const char *key, char out[MODEL_KEY_CAP]);
bool model_has_key(const struct engine_model *m, const char *key);
enum status model_key_u32(struct engine_model *m, const char *key, uint32_t *out, struct err *e);
enum status model_key_u32_or(struct engine_model *m, const char *key, uint32_t absent,
                             uint32_t *out, struct err *e);
enum status model_key_f64(struct engine_model *m, const char *key, double *out, struct err *e);
enum status model_key_f64_or(struct engine_model *m, const char *key, double absent, double *out,
                             struct err *e);
enum status model_key_bool(struct engine_model *m, const char *key, bool *out, struct err *e);
enum status model_key_bool_or(struct engine_model *m, const char *key, bool absent, bool *out,
                              struct err *e);

/* Sizes that all architectures have, eps and the scale of scores (1/sqrt(head_dim)): fills h but
 * for RoPE and for what only some have, which stays "none". n_ff is 0 if the key is not there. */
enum status model_load_sizes(struct engine_model *m, enum norm_kind norm, struct err *e);

/* ---- RoPE (model_rope.c) */

enum rope_tables {
    ROPE_TABLES_NONE,
    ROPE_TABLES_LLAMA, /* rope_freqs; long and short ones if the type of scaling is longrope */
    ROPE_TABLES_PHI3,  /* long and short ones, if one is there or the type is longrope */
};
/* Everything about RoPE but the pairing's choice: rope, and rope_windowed, which is the same. */
enum status model_load_rope(struct engine_model *m, enum rope_pairing pairing,
                            enum rope_tables tables, struct err *e);
/* Refuses heads of which only a part is rotated. */
enum status model_rope_whole(struct engine_model *m, struct err *e);
/* Windowed layers rotate by this base, neither scaled nor by YaRN. */
enum status model_plain_windowed_rope(struct engine_model *m, double freq_base, struct err *e);
/* The RoPE base of windowed layers, if the file has one. */
enum status model_windowed_base(struct engine_model *m, struct err *e);
/* Key sliding_window, or absent; then which layers are windowed: those that key
 * sliding_window_pattern names (a period, or a value per layer), else all but the last of every
 * `period` layers. None if the window is 0. */
enum status model_load_windows(struct engine_model *m, uint32_t absent, uint32_t period,
                               struct err *e);

/* ---- tensors (weights.c) */

enum { NO_LAYER = -1 };

/* "blk.LAYER.ROLE.weight", or "ROLE.weight" without a layer. */
struct tensor_want {
    int layer;
    const char *role;
    uint32_t n_in, n_out;
    enum tensor_use use;
    bool optional;
    enum bias_rule bias; /* of a matrix or norm */
    uint32_t n_mats;     /* 0 and 1: a single matrix */
    const char *suffix;  /* NULL: "weight" */
};
/* *out = 0 if optional and absent. A shape or type that does not fit is an error with names. */
enum status model_load_tensor(struct engine_model *m, const struct tensor_want *w, uint32_t *out,
                              struct err *e);
bool model_has_tensor(const struct engine_model *m, int layer, const char *role);
/* A matrix with its .bias and .scale. */
enum status model_load_linear(struct engine_model *m, const struct tensor_want *w,
                              struct linear *out, struct err *e);
/* The same, fused: n_parts matrices whose rows follow each other, rows[i] of them each. */
enum status model_load_fused(struct engine_model *m, const struct tensor_want *w,
                             const uint32_t *rows, struct linear *const *parts, size_t n_parts,
                             struct err *e);
/* w->n_mats matrices: one tensor, or one each called ROLE without "_exps", ".0" and so on. */
enum status model_load_stack(struct engine_model *m, const struct tensor_want *w, struct stack *out,
                             struct err *e);
/* w->n_out rows of w->n_in values with their bias. */
enum status model_load_norm(struct engine_model *m, const struct tensor_want *w, struct norm *out,
                            struct err *e);
/* attn_q, attn_k, attn_v of a layer, apart or fused as attn_qkv. */
enum status model_load_qkv(struct engine_model *m, int layer, enum bias_rule bias, struct err *e);
#endif
