/* An engine as a subject of Assay: a shared library that exports one symbol,
 *
 *     const struct assay_subject *assay_subject(uint32_t abi);
 *
 * and is used as --subject plugin:FILE.so. It answers on up to three levels, each of which may be
 * missing: decoding blocks, single operations, whole evaluations. It is loaded into a process of
 * its own and called from one thread; a crash or a hang is reported as such. What it prints goes to
 * the standard error of the program.
 *
 * All arrays are row-major and contiguous, f32 unless stated, and may be unaligned if they hold
 * blocks. Types are GGUF's ids (0 = F32, 1 = F16, 12 = Q4_K ...). A function returns ASSAY_OK,
 * ASSAY_UNSUPPORTED (that is skipped, and said so) or ASSAY_FAILED, with the reason from error().
 */
#ifndef ASSAY_SUBJECT_H
#define ASSAY_SUBJECT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ASSAY_SUBJECT_ABI 2u

enum { ASSAY_OK = 0, ASSAY_FAILED = 1, ASSAY_UNSUPPORTED = 2 };

/* W: n_out rows of n_in weights of a type. */
struct assay_weight {
    const void *data;
    uint32_t type, n_in, n_out;
};

/* out (n, n_in) = rows ids[i] of w, decoded. */
struct assay_get_rows {
    struct assay_weight w;
    const int32_t *ids;
    float *out;
    uint32_t n;
};

/* Per row of n, out may be x. rms_norm: out = x / sqrt(mean(x^2) + eps) * w. layer_norm: out = (x -
 * mean) / sqrt(var + eps) * w + b; b may be NULL. Row r takes row r % w_rows of w and b. */
struct assay_norm {
    const float *x, *w, *b;
    float *out;
    uint32_t rows, n, w_rows;
    float eps;
};

/* out (n_cols, n_out) = W x (+ bias); x (n_cols, n_in); bias NULL: none. */
struct assay_matmul {
    struct assay_weight w;
    const float *x, *bias;
    float *out;
    uint32_t n_cols;
};

/* out (n_tokens, n_used, n_out) = W[ids[t][s]] x (+ bias[ids[t][s]]). w: n_experts matrices of n_out
 * rows, one after the other; bias (n_experts, n_out) or NULL. x (n_tokens, n_in), or (n_tokens,
 * n_used, n_in) if x_per_slot. */
struct assay_matmul_id {
    struct assay_weight w;
    const float *x;
    const int32_t *ids;
    const float *bias;
    float *out;
    uint32_t n_tokens, n_used, n_experts, x_per_slot;
};

/* Rotates n_dims from `first` on of each head of x (n_tokens, n_heads, head_dim) in place. table
 * (n_tokens, n_dims/2, 2): cos, sin. neox: pairs (p, p + n_dims/2), else (2p, 2p + 1). */
struct assay_rope {
    float *x;
    const float *table;
    uint32_t n_tokens, n_heads, head_dim, n_dims, neox, first;
};

/* cache row cells[t] = src row t, rounded to type (F32, F16, BF16, Q8_0, Q4_0, Q5_1, IQ4_NL). */
struct assay_kv_write {
    const float *src;
    const int32_t *cells;
    void *cache;
    uint32_t n_tokens, row, type;
};

/* q (n_tokens, n_heads, head_dim); k (n_cells, n_kv_heads, head_dim), v (n_cells, n_kv_heads,
 * value_dim) of their types. Query t sees cell c iff first[t] <= cell_pos[c] <= pos[t]. Head h reads
 * KV head h / (n_heads / n_kv_heads). Scores are scale q k, or softcap tanh(scale q k / softcap) if
 * softcap is not 0. sinks (n_heads) or NULL: one more score of each head, whose weight goes nowhere.
 * attention: out (n_tokens, n_heads, value_dim) = softmax(scores) v. attn_scores: probs (n_tokens,
 * n_heads, n_cells) = scores without sinks, hidden cells -inf. attn_mix: out = probs v. What an
 * operation does not use is NULL. */
struct assay_attention {
    const float *q;
    const void *k, *v;
    const int32_t *pos, *first, *cell_pos;
    const float *sinks;
    float *probs, *out;
    uint32_t n_tokens, n_heads, n_kv_heads, head_dim, value_dim, n_cells, k_type, v_type;
    float scale, softcap;
};

/* out (rows, n); -inf gives 0. sinks (n_sinks) or NULL: row r has one more score, sinks[r % n_sinks],
 * in its sum. */
struct assay_softmax {
    const float *x, *sinks;
    float *out;
    uint32_t rows, n, n_sinks;
};

/* argmax: out (rows), the lowest index of the largest. */
struct assay_rows {
    const float *x;
    int32_t *out;
    uint32_t rows, n;
};

/* out (rows, n): row r of x times factors[r]. */
struct assay_scale_rows {
    const float *x, *factors;
    float *out;
    uint32_t rows, n;
};

/* out[r * out_row + g * out_group + i] = x[r * x_row + g * x_group + i], r < rows, g < groups, i < n. */
struct assay_copy {
    const float *x;
    float *out;
    uint32_t rows, groups, n, x_row, x_group, out_row, out_group;
};

/* Expert choice; gating 1: softmax, 2: sigmoid, 3: softmax over the chosen. ids (n_tokens, n_used)
 * i32 and weights out, in order of descending weight. bias (n_experts) or NULL: for the choice only.
 * Of n_groups > 1 groups only the n_groups_used best count, by the sums of their two best. normalise:
 * weights over max(sum, 2^-14). Then times scale. */
struct assay_route {
    const float *logits, *bias;
    int32_t *ids;
    float *weights;
    uint32_t n_tokens, n_experts, n_used, n_groups, n_groups_used, gating, normalise;
    float scale;
};

/* out (n_tokens, n) = sum over s of weights[t][s] x[t][s]; x (n_tokens, n_used, n). */
struct assay_moe_sum {
    const float *x, *weights;
    float *out;
    uint32_t n_tokens, n_used, n;
};

/* silu, gelu (tanh form), gelu_erf, sigmoid: of a. silu_mul, gelu_mul, gelu_erf_mul: f(a) b.
 * swiglu_oai: g / (1 + exp(-1.702 g)) (u + 1), g = min(a, 7), u = clamp(b, -7, 7). add: a + b. scale:
 * factor a. softcap: factor tanh(a / factor). n values; out may be a or b. */
struct assay_elements {
    const float *a, *b;
    float *out;
    uint32_t n;
    float factor;
};

struct assay_ops {
    int (*get_rows)(void *ctx, const struct assay_get_rows *a);
    int (*rms_norm)(void *ctx, const struct assay_norm *a);
    int (*layer_norm)(void *ctx, const struct assay_norm *a);
    int (*matvec)(void *ctx, const struct assay_matmul *a); /* 1 to 8 columns */
    int (*matmul)(void *ctx, const struct assay_matmul *a);
    int (*matmul_id)(void *ctx, const struct assay_matmul_id *a);
    int (*rope)(void *ctx, const struct assay_rope *a);
    int (*kv_write)(void *ctx, const struct assay_kv_write *a);
    int (*attention)(void *ctx, const struct assay_attention *a);
    int (*attn_scores)(void *ctx, const struct assay_attention *a);
    int (*softmax)(void *ctx, const struct assay_softmax *a);
    int (*attn_mix)(void *ctx, const struct assay_attention *a);
    int (*silu)(void *ctx, const struct assay_elements *a);
    int (*gelu)(void *ctx, const struct assay_elements *a);
    int (*gelu_erf)(void *ctx, const struct assay_elements *a);
    int (*sigmoid)(void *ctx, const struct assay_elements *a);
    int (*softcap)(void *ctx, const struct assay_elements *a);
    int (*silu_mul)(void *ctx, const struct assay_elements *a);
    int (*gelu_mul)(void *ctx, const struct assay_elements *a);
    int (*gelu_erf_mul)(void *ctx, const struct assay_elements *a);
    int (*swiglu_oai)(void *ctx, const struct assay_elements *a);
    int (*route)(void *ctx, const struct assay_route *a);
    int (*moe_sum)(void *ctx, const struct assay_moe_sum *a);
    int (*add)(void *ctx, const struct assay_elements *a);
    int (*scale)(void *ctx, const struct assay_elements *a);
    int (*scale_rows)(void *ctx, const struct assay_scale_rows *a);
    int (*copy)(void *ctx, const struct assay_copy *a);
    int (*argmax)(void *ctx, const struct assay_rows *a);
};

/* Given to eval. site: a name of suites/locate/README.md without the layer ("q", "l_out"), of the column
 * "name"; another one is an error. layer: 0 for those of the model. All rows of the prompt, (rows,
 * cols). */
struct assay_probe {
    void *ctx;
    /* Not zero: show this site. */
    int (*want)(void *ctx, const char *site, uint32_t layer);
    void (*take)(void *ctx, const char *site, uint32_t layer, const float *values, uint64_t rows,
                 uint64_t cols);
    /* Values to go on with in place of the engine's own, valid until the next call, or NULL. To be
     * called after take by an engine that announces ASSAY_GIVES. */
    const float *(*give)(void *ctx, const char *site, uint32_t layer, uint64_t rows, uint64_t cols);
};

enum { ASSAY_GIVES = 1 };

struct assay_subject {
    uint32_t abi;     /* ASSAY_SUBJECT_ABI */
    uint32_t flags;   /* ASSAY_GIVES */
    const char *name; /* "my engine 1.2" */
    void *ctx;        /* handed to every function */
    /* The reason of the last failure, or NULL. */
    const char *(*error)(void *ctx);

    /* 1. n values (whole blocks) of a type, exactly. */
    int (*decode)(void *ctx, uint32_t type, const void *blocks, uint64_t n, float *out);

    /* 2. */
    const struct assay_ops *ops;

    /* 3. Logits (n, n_vocab) of all positions of a prompt from position 0. model: path of a GGUF
     * file, the same in every call of a run. */
    int (*eval)(void *ctx, const char *model, const int32_t *tokens, uint64_t n, uint64_t n_vocab,
                float *logits, const struct assay_probe *probe);
    /* What eval does less precisely than Assay's own engine, which is what it is then judged by;
     * NULL: nothing. How it rounds the activations that enter a product: "f32" (not at all),
     * "f16", "bf16", or "q8" (as llama.cpp's CPU backend for each type of weights: not at all,
     * F16, BF16, or 8 bits in blocks). With any of these, angles of RoPE may be computed in
     * binary32, and each site is judged by the inputs that the engine itself had. */
    const char *activations;
};

/* abi: what the caller speaks. NULL if the library does not. */
const struct assay_subject *assay_subject(uint32_t abi);

#ifdef __cplusplus
}
#endif

#endif
