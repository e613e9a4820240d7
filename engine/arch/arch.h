/* Architectures: one file each in this folder that loads a model and says what it is made of
 * (struct hyper, struct layer_weights), and the parts that loaders are put together from. */
#ifndef ARCH_H
#define ARCH_H

#include "engine/model/model.h"

/* In the order of archs.def; NULL past the last. */
const struct arch *arch_at(size_t i);

#define ARCH(e, c_name, name) enum status load_##c_name(struct engine_model *m, struct err *e);
#include "spec/archs.def"
#undef ARCH

/* ---- parts of layers (parts.c); layer: which one */

enum status load_norm(struct engine_model *m, int layer, const char *role, struct norm *out,
                      struct err *e);
/* attn_norm and ffn_norm; post_attention_norm and post_ffw_norm. */
enum status load_pre_norms(struct engine_model *m, int layer, struct err *e);
enum status load_post_norms(struct engine_model *m, int layer, struct err *e);
/* Norms of queries and keys: of every head by the same weights; by a row of weights per head, if
 * there or required; of whole rows. */
enum status load_qk_norms(struct engine_model *m, int layer, struct err *e);
enum status load_qk_norms_by_head(struct engine_model *m, int layer, bool required, struct err *e);
enum status load_qk_norms_of_rows(struct engine_model *m, int layer, struct err *e);
/* Projections q, k, v, and attn_output. */
enum status load_attention(struct engine_model *m, int layer, enum bias_rule qkv,
                           enum bias_rule output, struct err *e);
enum status load_ffn_gated(struct engine_model *m, int layer, enum activation act, struct err *e);
enum status load_ffn_fused(struct engine_model *m, int layer, enum activation act, struct err *e);
enum status load_ffn_plain(struct engine_model *m, int layer, enum bias_rule bias, struct err *e);

/* Number of experts and of groups from the keys, into h.router. */
enum status load_router(struct engine_model *m, enum route_gating gating, bool normalise,
                        struct err *e);
/* h.n_ff_expert from its key, or else n_ff, shared by the experts in use. */
enum status load_expert_length(struct engine_model *m, struct err *e);
/* Router and experts of h.n_ff_expert. fused: ffn_gate_up_exps may stand for two. */
enum status load_experts(struct engine_model *m, int layer, enum activation act,
                         enum bias_rule bias, bool fused, struct err *e);
/* A SwiGLU of h.n_ff_shared beside them. */
enum status load_shared_expert(struct engine_model *m, int layer, struct err *e);
/* All layers: SwiGLU, or experts of feed_forward_length by softmax, weights normalised. */
enum status load_layers_mixtral(struct engine_model *m, struct err *e);
/* All layers: plain GELU, biases everywhere. */
enum status load_layers_biased(struct engine_model *m, struct err *e);
/* What embeddings are multiplied by, and scores in the model of so many layers (0: none such). */
void part_gemma_scales(struct engine_model *m, uint32_t layers_27b);
/* What granite's files multiply by, and whether they rotate. */
enum status load_granite_scales(struct engine_model *m, struct err *e);
/* token_embd, output_norm, and output, which is token_embd if absent. */
enum status load_ends(struct engine_model *m, struct err *e);
/* The same, of a model that needs an output of its own. */
enum status load_ends_apart(struct engine_model *m, struct err *e);

#endif
