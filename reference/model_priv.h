/* A model as the reference's forward passes see it. Loading: model_load.h. One architecture = one
 * file arch/NAME.c with a struct ref_arch, and its row in spec/archs.def. */
#ifndef REF_MODEL_PRIV_H
#define REF_MODEL_PRIV_H

#include "reference/site.h"

/* Allocations that are freed together. {0} is empty. */
struct ref_blocks {
    struct ref_block *last;
};
void *ref_blocks_alloc(struct ref_blocks *b, size_t count, size_t size); /* zeroed; NULL: no room */
void ref_blocks_free(struct ref_blocks *b);

/* Both set the error and return false. ref_refuse is for files that are well-formed, but that the
 * reference does not compute. */
bool ref_fail(struct ref_err *e, const char *format, ...);
bool ref_refuse(struct ref_err *e, const char *format, ...);

/* down(act(gate x) * (up x)), or down(act(up x)) without a gate. */
struct ref_ffn {
    enum ref_activation act;
    struct ref_weight gate, up, down;
};

/* sum_e w_e FFN_e(x) over the chosen experts, + shared(x) [* sigmoid(shared_gate x)]. */
struct ref_moe {
    struct ref_weight gate_inp; /* n_experts rows; data NULL: the layer has no experts */
    struct ref_router router;
    enum ref_activation act;
    const struct ref_weight *gate, *up, *down; /* (router.n_experts) each */
    struct ref_ffn shared;                     /* up.data NULL: none */
    struct ref_weight shared_gate; /* one row; data NULL: the shared expert counts in full */
};

/* Attention with latent keys and values: reference/spec/operations.md, "deepseek2". Either kv_b or
 * the pair k_b, v_b is there. */
struct ref_mla {
    struct ref_weight q_a, q_b; /* q_a.data NULL: q_b alone makes Q, from the layer's input */
    struct ref_norm q_a_norm, kv_a_norm;
    struct ref_weight kv_a, kv_b;
    const struct ref_weight *k_b, *v_b; /* (n_heads) each; NULL: kv_b is there */
};

/* What a file lacks has w or data NULL, and the pass leaves it out. */
struct ref_layer {
    /* Without ffn_norm, the input of the feed-forward part is that of the attention (parallel
     * layers with one norm), or is not normalised (post-norm layers). */
    struct ref_norm attn_norm, q_norm, k_norm, attn_post_norm, ffn_norm, ffn_post_norm;
    struct ref_weight q, k, v, o;
    struct ref_mla mla;
    const float *sinks; /* (n_heads); NULL: none */
    bool windowed;      /* the model's window applies, and rope_windowed */
    struct ref_ffn ffn;
    struct ref_moe moe; /* in place of ffn where it has a router */
};

/* Everything is owned by `blocks`, apart from data of tensors, which are the source's. */
struct ref_model {
    const struct ref_arch *arch;
    const char *arch_name; /* general.architecture, and the prefix of the keys */
    struct ref_shape shape;
    double norm_eps, kq_scale;
    bool parallel;   /* layers are parallel: both parts start from the same x */
    double attn_cap; /* soft cap of the scores; 0: none */
    uint32_t window; /* tokens that a token of a windowed layer sees, itself included; 0: all */
    bool has_rope;
    struct ref_rope rope, rope_windowed; /* of full and of windowed layers; factors: rope_freqs */
    /* Factors for contexts that are configured to be longer than rope.n_ctx_orig, and for others;
     * (rope.n_dims / 2) each; NULL: the model has none. */
    const float *factors_long, *factors_short;
    double temperature; /* t: Q is multiplied by ln(floor(pos / rope.n_ctx_orig) + 1) t + 1 */
    double embd_scale, residual_scale, logit_scale; /* factors; 1: none */
    double logit_cap;                               /* soft cap of the logits; 0: none */
    struct ref_weight embd, pos_embd, output;       /* pos_embd.data NULL: no table of positions */
    struct ref_norm output_norm;
    struct ref_layer *layers; /* (shape.n_layers) */
    struct ref_blocks blocks;
};

struct ref_pass;
struct ref_places;
struct ref_loader;

enum ref_norm_kind { REF_NORM_RMS, REF_NORM_LAYER };

struct ref_arch {
    enum ref_norm_kind norm;
    enum ref_pairing pairing;
    void (*load)(struct ref_loader *l); /* fills l->m; see model_load.h */
    /* The attention of a layer: in a->h its input, which is normalised; out, in a->h too, what is
     * added to the residual stream. False with the error of p set. */
    bool (*attention)(struct ref_pass *p, uint32_t layer, struct ref_places *a);
};
#define ARCH(e, c_name, name) extern const struct ref_arch ref_arch_##c_name;
#include "spec/archs.def"
#undef ARCH

#endif
