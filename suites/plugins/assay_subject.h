/* An engine as a subject of Assay: a shared library that exports one symbol,
 *
 *     const struct assay_subject *assay_subject(uint32_t abi);
 *
 * and is used as --subject plugin:FILE.so. This header stands alone; minimal.c beside it is the
 * shortest example. A plug-in answers on up to three levels, each of which may be missing: decoding
 * blocks, single operations, whole evaluations.
 *
 * Process. The library is loaded into a process of its own. Every call comes from one thread, and
 * one call at a time; the plug-in may start threads of its own. A crash is reported as such, and so
 * is a call, or a step of eval to the next call of the probe, that takes longer than two minutes
 * (environment variable ASSAY_PLUGIN_TIMEOUT: seconds). What the plug-in prints goes to the
 * standard error of the program.
 *
 * Answers. A function returns ASSAY_OK; ASSAY_UNSUPPORTED, whereupon the case is skipped with the
 * reason; or ASSAY_FAILED, with the reason, which is a failure. A function pointer that is NULL is
 * not supported: cases that need it are skipped, and an evaluation that is made of single
 * operations ends with an error at the first one that is missing. decode that is NULL is replaced
 * by get_rows.
 *
 * Arrays are row-major and contiguous, the last dimension innermost: (n_tokens, n_heads, head_dim)
 * has the values of a head side by side. Values are f32, indices int32_t. An argument that is
 * absent is NULL. Sizes are at least 1 unless stated: nothing is called with n = 0.
 *
 * Memory. All arrays belong to the caller and are valid during the call only; an address may come
 * again with other contents. Arrays begin at a multiple of 4 bytes, no more; rows and blocks within
 * weights and caches follow each other without gaps and so begin anywhere, at odd addresses too.
 * Inputs must not be written to, nor anything beside the values of an output: both are checked.
 * Where nothing else is said, outputs hold nothing useful before.
 *
 * In place. Where a comment says "out may be x", out may be the same array as x, and the result has
 * the same bits as in an array of its own. Otherwise no output overlaps another array.
 *
 * Types are GGUF's numbers: 0 F32, 1 F16, 2 Q4_0, 3 Q4_1, 6 Q5_0, 7 Q5_1, 8 Q8_0, 10 Q2_K, 11 Q3_K,
 * 12 Q4_K, 13 Q5_K, 14 Q6_K, 15 Q8_K, 16 IQ2_XXS, 17 IQ2_XS, 18 IQ3_XXS, 19 IQ1_S, 20 IQ4_NL, 21
 * IQ3_S, 22 IQ2_S, 23 IQ4_XS, 28 F64, 29 IQ1_M, 30 BF16, 34 TQ1_0, 35 TQ2_0, 39 MXFP4, 40 NVFP4, 41
 * Q1_0, 42 Q2_0.
 *
 * What is exact. Decoded values (decode, get_rows) and those of kv_write, copy and scale_rows are
 * compared to the bit: subnormals and the sign of zero are kept; of NaN, the payload does not
 * matter. add and scale are rounded once, argmax and the ids of route are as stated. All else has
 * an error bound that is derived from the operation; order and width of sums are the engine's
 * choice.
 */
#ifndef ASSAY_SUBJECT_H
#define ASSAY_SUBJECT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ASSAY_SUBJECT_ABI 2u

enum { ASSAY_OK = 0, ASSAY_FAILED = 1, ASSAY_UNSUPPORTED = 2 };

/* ---- arguments of operations
 * ------------------------------------------------------------------ */

/* W: n_out rows of n_in weights of a type, one row after the other without gaps. */
struct assay_weight {
    const void *data;
    uint32_t type, n_in, n_out; /* n_in: a multiple of the type's block */
};

/* out (n, n_in) = rows ids[i] of w, decoded. ids (n), each in [0, n_out); the same one may come
 * again. */
struct assay_get_rows {
    struct assay_weight w;
    const int32_t *ids;
    float *out;
    uint32_t n;
};

/* Of each row of x (rows, n); out (rows, n) may be x.
 *   rms_norm:   out = x / sqrt(mean(x^2) + eps) * w; b is NULL
 *   layer_norm: out = (x - mean) / sqrt(var + eps) * w + b, var = mean((x - mean)^2); b may be NULL
 * Row r takes row r % w_rows of w and b (w_rows, n): with w_rows > 1, each head has its own
 * weights. */
struct assay_norm {
    const float *x, *w, *b;
    float *out;
    uint32_t rows, n, w_rows;
    float eps;
};

/* out (n_cols, n_out) = W x (+ bias). x (n_cols, n_in): a row for each token; bias (n_out) or
 * NULL. */
struct assay_matmul {
    struct assay_weight w;
    const float *x, *bias;
    float *out;
    uint32_t n_cols;
};

/* Products with the matrices of chosen experts: out (n_tokens, n_used, n_out) = W[ids[t][s]] x
 * (+ bias[ids[t][s]]). ids (n_tokens, n_used), each in [0, n_experts). w: n_experts matrices of
 * n_out rows, one after the other; bias (n_experts, n_out) or NULL. x (n_tokens, n_in), or
 * (n_tokens, n_used, n_in) if x_per_slot. An expert may come up in any number of tokens and slots,
 * or in none. */
struct assay_matmul_id {
    struct assay_weight w;
    const float *x;
    const int32_t *ids;
    const float *bias;
    float *out;
    uint32_t n_tokens, n_used, n_experts, x_per_slot;
};

/* Rotates dimensions [first, first + n_dims) of each head of x (n_tokens, n_heads, head_dim) in
 * place and leaves the others as they are. Pair p of a head, counted from `first` on, is (2p, 2p +
 * 1), or (p, p + n_dims/2) if neox; with its values u and v it becomes (u c - v s, u s + v c).
 * table (n_tokens, n_dims/2, 2): c and s, the cosine and sine. n_dims is even; first may be 0. */
struct assay_rope {
    float *x;
    const float *table;
    uint32_t n_tokens, n_heads, head_dim, n_dims, neox, first;
};

/* Row cells[t] of the cache = row t of src, rounded to type. src (n_tokens, row), cells (n_tokens),
 * all different; cache (any number of cells, row); row is a multiple of the type's block. Cells
 * that are not named keep what they hold.
 *
 * F32 keeps, F16 and BF16 round to nearest even; infinities and NaN are kept. The others have
 * blocks of 32 values, which are finite. All arithmetic is in binary32, rounded to nearest even
 * after every operation; id = 1 / d, or 0 where d is 0 or 1 / d is not finite; d is stored as
 * binary16:
 *   Q8_0    amax = max |x|, d = amax / 127; q = roundf(x id), halves away from 0
 *   Q4_0    m = the x of largest |x| with its sign, the first of equals, d = m / -8;
 *           q = min(15, (int)(x id + 8.5))
 *   Q5_1    lo = min x, hi = max x, d = (hi - lo) / 31; q = min(31, (int)((x - lo) id + 0.5)); lo
 *           is stored as binary16 too
 *   IQ4_NL  m as for Q4_0, d = m / -127; q: of the level nearest to x id, the lower one of equals
 * The bytes of their blocks are compared. */
struct assay_kv_write {
    const float *src;
    const int32_t *cells;
    void *cache;
    uint32_t n_tokens, row, type;
};

/* q (n_tokens, n_heads, head_dim); k (n_cells, n_kv_heads, head_dim) of k_type, v (n_cells,
 * n_kv_heads, value_dim) of v_type, which may differ. cell_pos (n_cells): the position that a cell
 * holds, -1 if the cell is empty; cells are in any order. Query t sees cell c iff first[t] <=
 * cell_pos[c] <= pos[t]; pos, first (n_tokens), first[t] >= 0. Hidden cells never matter, and may
 * hold NaN. Head h reads KV head h / (n_heads / n_kv_heads). A score is z = scale q k, or softcap
 * tanh(z / softcap) if softcap is not 0. sinks (n_heads) or NULL: one more score of each head,
 * neither scaled nor capped, whose weight goes nowhere. A query that sees nothing gives zeros.
 *   attention:   out (n_tokens, n_heads, value_dim) = softmax(scores) v; probs is not used
 *   attn_scores: probs (n_tokens, n_heads, n_cells) = scores, of hidden cells -inf; v, out and
 *                sinks are not used (sinks are handed to softmax)
 *   attn_mix:    out = probs v; hidden cells, whose probs are 0, must not be read; q, k and sinks
 *                are not used
 * What an operation does not use may be NULL or not. */
struct assay_attention {
    const float *q;
    const void *k, *v;
    const int32_t *pos, *first, *cell_pos;
    const float *sinks;
    float *probs, *out;
    uint32_t n_tokens, n_heads, n_kv_heads, head_dim, value_dim, n_cells, k_type, v_type;
    float scale, softcap;
};

/* out (rows, n) = softmax of each row of x; -inf gives 0, a row of -inf alone gives zeros; out may
 * be x. sinks (n_sinks), or NULL with n_sinks = 0: row r has one more score, sinks[r % n_sinks],
 * that counts in the maximum and in the sum and is not in out. */
struct assay_softmax {
    const float *x, *sinks;
    float *out;
    uint32_t rows, n, n_sinks;
};

/* argmax: out (rows) = the index of the largest value of each row of x (rows, n), the lowest one
 * among equals. */
struct assay_rows {
    const float *x;
    int32_t *out;
    uint32_t rows, n;
};

/* out (rows, n): row r of x times factors[r]; out may be x. */
struct assay_scale_rows {
    const float *x, *factors;
    float *out;
    uint32_t rows, n;
};

/* out[r * out_row + g * out_group + i] = x[r * x_row + g * x_group + i] for r < rows, g < groups,
 * i < n: strides in values, 0 repeats. What lies between the values that are written stays. */
struct assay_copy {
    const float *x;
    float *out;
    uint32_t rows, groups, n, x_row, x_group, out_row, out_group;
};

/* Expert choice, for each token: from logits (n_tokens, n_experts) to ids and weights (n_tokens,
 * n_used). gating 1: p = softmax of the logits over all experts; 2: p = sigmoid; 3: p = the logits.
 * Selection values are p + bias; bias (n_experts) or NULL. With n_groups > 1, which are n_experts /
 * n_groups neighbours each, only the n_groups_used groups with the largest sums of their two best
 * selection values count (n_groups 0 or 1: no groups). The n_used largest selection values are
 * chosen, the lower index among equals, of experts as of groups. Weights are p of the chosen,
 * without bias; with gating 3 the softmax over the logits of the chosen. normalise: divided by
 * max(sum, 2^-14). Then times scale. Slots are in order of descending weight, the lower index first
 * among equals. n_experts <= 1024. */
struct assay_route {
    const float *logits, *bias;
    int32_t *ids;
    float *weights;
    uint32_t n_tokens, n_experts, n_used, n_groups, n_groups_used, gating, normalise;
    float scale;
};

/* out (n_tokens, n) = sum over s of weights[t][s] x[t][s]; x (n_tokens, n_used, n), weights
 * (n_tokens, n_used). */
struct assay_moe_sum {
    const float *x, *weights;
    float *out;
    uint32_t n_tokens, n_used, n;
};

/* Of n values each; out may be a, and b where there is one. Functions of a, with b NULL: silu =
 * a sigmoid(a); sigmoid = 1 / (1 + exp(-a)); gelu, the tanh form; gelu_erf, the exact one; scale =
 * factor a; softcap = factor tanh(a / factor), factor > 0. Functions of both: add = a + b; silu_mul
 * = silu(a) b; gelu_mul = gelu(a) b; gelu_erf_mul = gelu_erf(a) b; swiglu_oai = g / (1 + exp(-1.702
 * g)) (u + 1) with g = min(a, 7), u = clamp(b, -7, 7). */
struct assay_elements {
    const float *a, *b;
    float *out;
    uint32_t n;
    float factor; /* of scale and softcap */
};

/* ctx: that of struct assay_subject. A slot that is NULL is not supported. */
struct assay_ops {
    int (*get_rows)(void *ctx, const struct assay_get_rows *a);
    int (*rms_norm)(void *ctx, const struct assay_norm *a);
    int (*layer_norm)(void *ctx, const struct assay_norm *a);
    int (*matvec)(void *ctx, const struct assay_matmul *a); /* 1 to 8 columns */
    int (*matmul)(void *ctx, const struct assay_matmul *a); /* any number */
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

/* ---- whole evaluations
 * ------------------------------------------------------------------------- */

/* Sites are the places of a pass whose values can be shown and replaced. Names, with the columns of
 * a row; a row is a token. Of an architecture's pass, those that it has:
 *
 *   embd            n_embd      token embeddings as they enter layer 0, scaled, with positions
 *   attn_norm       n_embd      norm before attention
 *   q, k, v         q: heads x head_dim; k, v: KV heads x head_dim    projections, with their bias
 *   q_norm, k_norm  the same    q and k after norms of their own
 *   q_rope, k_rope  the same    q and k after RoPE
 *   kq              heads x cells   scores, scaled and capped, hidden cells -inf; c = position
 *   kq_soft_max     heads x cells   their softmax
 *   kqv             heads x head_dim   attention, before its projection
 *   attn_out        n_embd      its projection
 *   attn_post_norm  n_embd      norm of that result
 *   ffn_inp         n_embd      residual after attention
 *   ffn_norm        n_embd      norm before feed-forward
 *   ffn_router      n_experts   logits of the router of experts
 *   ffn_gate        n_ff        gate projection; not shown with experts, nor ffn_up, ffn_act
 *   ffn_up          n_ff        up projection
 *   ffn_act         n_ff        act(gate) up, or act(up) without a gate
 *   ffn_out         n_embd      down projection, or the weighted sum of the experts
 *   ffn_post_norm   n_embd      norm of that result
 *   l_out           n_embd      residual after feed-forward: the layer's output
 *   result_norm     n_embd      final norm
 *   result_output   n_vocab     logits
 *
 * embd, result_norm and result_output are the model's, with layer 0; all others are of a layer,
 * counted from 0. `assay trace --list` prints the same list. */

/* Given to eval, and valid until eval returns; to be called from eval's thread. */
struct assay_probe {
    void *ctx; /* first argument of the others */
    /* Not zero: this site is wanted. Zero for a name that is no site. */
    int (*want)(void *ctx, const char *site, uint32_t layer);
    /* Shows values (rows, cols), all rows of the prompt in its order; they are copied before take
     * returns. A name that is no site makes eval fail, and so do values that are NULL. */
    void (*take)(void *ctx, const char *site, uint32_t layer, const float *values, uint64_t rows,
                 uint64_t cols);
    /* Values (rows, cols) to go on with in place of the engine's own, valid until the next call of
     * the probe; NULL: go on with your own. To be called after take, at every site, by an engine
     * that announces ASSAY_GIVES. */
    const float *(*give)(void *ctx, const char *site, uint32_t layer, uint64_t rows, uint64_t cols);
};

enum { ASSAY_GIVES = 1 };

/* All that it points to lives as long as the library is loaded. */
struct assay_subject {
    uint32_t abi;     /* ASSAY_SUBJECT_ABI */
    uint32_t flags;   /* ASSAY_GIVES: eval goes on with the values that the probe gives; else 0 */
    const char *name; /* "my engine 1.2"; at most 120 bytes are shown; may be NULL */
    void *ctx;        /* handed to every function */
    /* The reason of the call that has just returned other than ASSAY_OK: a text of one line, less
     * than 500 bytes, that stays valid until the next call. NULL: no reason known. error may be
     * NULL. */
    const char *(*error)(void *ctx);

    /* 1. Decodes n values, whole blocks of a type, exactly; out (n). Every type of the list above
     * comes (F64 is rounded to f32); ASSAY_UNSUPPORTED for those that the engine does not have. */
    int (*decode)(void *ctx, uint32_t type, const void *blocks, uint64_t n, float *out);

    /* 2. Single operations; NULL: none. */
    const struct assay_ops *ops;

    /* 3. Evaluates a prompt of n tokens from position 0, each seeing itself and those before it,
     * with an empty cache before: logits (n, n_vocab) of all positions. model: path of a GGUF file,
     * the same in every call of a run, as the user gave it: it may be compressed (.gz). probe is
     * never NULL. */
    int (*eval)(void *ctx, const char *model, const int32_t *tokens, uint64_t n, uint64_t n_vocab,
                float *logits, const struct assay_probe *probe);
    /* How eval rounds the activations that enter a product; bounds are widened accordingly. NULL:
     * as Assay's own engine, which rounds nothing. "f32": not at all; "f16"; "bf16"; "q8": as
     * llama.cpp's CPU backend for each type of weights, not at all, to F16, BF16, or to 8 bits in
     * blocks. With any of these four, angles of RoPE may be computed in binary32, and each site is
     * judged by the inputs that the engine itself had. */
    const char *activations;
};

/* abi: what the caller speaks. NULL if the library does not. */
const struct assay_subject *assay_subject(uint32_t abi);

#ifdef __cplusplus
}
#endif

#endif
