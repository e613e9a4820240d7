/* The reference: a slow scalar evaluation of what a model file says, in double precision, with
 * the magnitudes that error bounds need. It shares no arithmetic with the engine and includes
 * nothing of it.
 *
 * Conventions. A matrix W has n_out rows of n_in weights; a batch of vectors is (n_cols, n_in),
 * one vector after the other. u = 2^-24 is the unit roundoff of binary32. "mag" outputs hold the
 * sum of the absolute values of the terms of each result; NULL if not wanted.
 */
#ifndef REF_H
#define REF_H

#include "spec/spec.h"

struct ref_err {
    char text[512];   /* one line: what, where, which number */
    bool unsupported; /* well-formed, but nothing the reference computes */
};

/* Number of threads for everything below; 0 = one for each core that the process may run on. Results
 * do not depend on it. */
void ref_set_threads(int n);

/* Runs fn(ctx, i) for i in [0, n), in any order, on those threads; fn must write to places of
 * its own. */
void ref_parallel(size_t n, void (*fn)(void *ctx, size_t i), void *ctx);

/* Rows of n values as llama.cpp's CPU backend makes them of activations: to F16, BF16, blocks of Q8_0,
 * Q8_1 (the same numbers) or Q8_K; to binary32 for any other type, and where blocks do not fill a row
 * (reference/spec/tensor-types.md, "Type ids"). */
void ref_round_activations(enum tensor_type t, double *x, size_t rows, size_t n);
/* For the same rows: the size of a step where x lies at the border of two, so near that it depends on
 * the engine's own roundings (x / d and 127 / max, of binary32) which is taken; else 0. */
void ref_round_borders(enum tensor_type t, const double *x, size_t rows, size_t n, double *step);

/* ---- numbers --------------------------------------------------------------------------- */

float ref_f16_to_f32(uint16_t h);  /* exact; subnormals, infinities, NaN honoured */
float ref_bf16_to_f32(uint16_t b); /* exact */
uint16_t ref_f32_to_f16(float x);  /* round to nearest even; overflow to infinity */
uint16_t ref_f32_to_bf16(float x); /* round to nearest even; NaN stays NaN */

/* ---- tensor types ------------------------------------------------------------------------ */

/* Decodes n elements (a multiple of the type's block) to binary32, exactly as
 * reference/spec/tensor-types.md prescribes. One function per type with a decoder,
 * ref_decode_<c name>; the first calls the right one and aborts nothing: it returns false for types without a decoder. */
bool ref_decode(enum tensor_type t, const uint8_t *blocks, size_t n, float *out);
#define TYPE(e, id, name, c, elems, bytes, use, act)                                               \
    IF_DECODED(use)(void ref_decode_##c(const uint8_t *blocks, size_t n, float *out);)
#include "spec/types.def"
#undef TYPE

/* Encodes n values (a multiple of the type's block) of one row; deterministic. weight: relative
 * importance of the n columns, or NULL for none. Values must be finite. One function per weight
 * type, ref_encode_<c name>; false for other types. */
bool ref_encode(enum tensor_type t, const float *x, size_t n, const float *weight, uint8_t *out);
#define TYPE(e, id, name, c, elems, bytes, use, act)                                               \
    IF_WEIGHT(use)                                                                                 \
    (void ref_encode_##c(const float *x, size_t n, const float *weight, uint8_t *out);)
#include "spec/types.def"
#undef TYPE

/* Encodes n_rows rows of n_cols values on ref_set_threads() threads. progress, if not NULL, is
 * called from one thread at a time with the number of rows finished. */
bool ref_encode_rows(enum tensor_type t, const float *x, size_t n_rows, size_t n_cols,
                     const float *weight, uint8_t *out, void (*progress)(void *ctx, size_t rows),
                     void *ctx);

/* The types that a KV cache may have. F32, F16, BF16: round to nearest even, NaN stays NaN. Blocks of
 * 32 values, finite ones, all arithmetic in binary32, rounded to nearest even after every operation;
 * id = 1 / d, or 0 where d is 0 or 1 / d not finite; what is stored of d is its binary16:
 *   Q8_0    amax = max |x|, d = amax / 127; q = roundf(x id), halves away from 0
 *   Q4_0    m = the x of largest |x| with its sign, the first of equals, d = m / -8;
 *           q = min(15, (int)(x id + 8.5))
 *   Q5_1    lo = min x, hi = max x, d = (hi - lo) / 31; q = min(31, (int)((x - lo) id + 0.5)); lo is
 *           stored as binary16 too
 *   IQ4_NL  m as for Q4_0, d = m / -127; q: of the level nearest to x id, the lower one of equals */
bool ref_cache_type(enum tensor_type t);

/* n values (a multiple of the type's block) as a cache of the type holds them; false for other
 * types. */
bool ref_cache_encode(enum tensor_type t, const float *x, size_t n, uint8_t *out);

/* ---- operations --------------------------------------------------------------------------- */

/* y(n_cols, n_out) = W x (+ bias); mag = sum_k |w_ik x_k| (+ |bias|). W is n_out rows of type t,
 * x (n_cols, n_in), bias n_out values or NULL. */
void ref_matmul(enum tensor_type t, const uint8_t *w, size_t n_out, size_t n_in, const double *x,
                size_t n_cols, const float *bias, double *y, double *mag);

/* y = x / sqrt(mean(x^2) + eps) * w, per row of n. mag = |y|. */
void ref_rms_norm(const double *x, const float *w, size_t rows, size_t n, double eps, double *y,
                  double *mag);

/* y = (x - mean) / sqrt(var + eps) * w + b, var = mean((x - mean)^2), per row of n; b may be NULL.
 * mag: the roundings of the mean move x - mean by a part of mean|x|, those of x - mean move the
 * root by a part of mean(|x - mean| |x|) r^2, with r = 1/sqrt(var + eps):
 *     mag_i = r |w_i| (|x_i| + mean|x| + |x_i - mean| r^2 mean(|x - mean| |x|)) + |b_i|. */
void ref_layer_norm(const double *x, const float *w, const float *b, size_t rows, size_t n,
                    double eps, double *y, double *mag);

enum ref_pairing { REF_ROPE_NORM, REF_ROPE_NEOX };

/* Everything that makes an angle. Source: reference/spec/operations.md, "RoPE" and "YaRN". */
struct ref_rope {
    enum ref_pairing pairing;
    uint32_t n_dims;              /* rotated dimensions, even, <= head_dim */
    double freq_base, freq_scale; /* freq_scale = 1/factor */
    double ext_factor;            /* 0 without YaRN */
    double attn_factor, beta_fast, beta_slow;
    double magnitude; /* net factor m on cos and sin */
    uint32_t n_ctx_orig;
    const float *factors; /* n_dims/2 values, or NULL */
};

/* cos and sin (times m) of pair p at position pos. */
void ref_rope_angle(const struct ref_rope *r, int64_t pos, uint32_t pair, double *c, double *s);

/* Rotates heads in place: x (n_tokens, n_heads, head_dim), pos (n_tokens). mag = |a c| + |b s|. */
void ref_rope(const struct ref_rope *r, double *x, const int32_t *pos, size_t n_tokens,
              size_t n_heads, size_t head_dim, double *mag);

/* Attention over explicit cells. q (n_tokens, n_heads, head_dim); k (n_cells, n_kv_heads,
 * head_dim), v (n_cells, n_kv_heads, value_dim); query t sees cell c iff first[t] <= cell_pos[c]
 * <= pos[t], first[t] = 0 if there is none, and pos[t] - cell_pos[c] < window. A score is scale
 * q.k, or with a soft cap cap tanh(scale q.k / cap). A sink is one more score of its head, whose
 * weight goes nowhere. scores, weights: (n_tokens, n_heads, n_cells) or NULL, hidden cells -inf
 * and 0; out (n_tokens, n_heads, value_dim); a query that sees nothing gets zeros. mag_scores =
 * sum_d |q k| * scale, that is before the cap; mag = sum_c p |v|. */
struct ref_attention {
    const double *q, *k, *v;
    const int32_t *pos, *first, *cell_pos; /* first may be NULL */
    size_t n_tokens, n_heads, n_kv_heads, head_dim, n_cells;
    size_t value_dim; /* 0: head_dim */
    double scale;
    double cap;         /* 0: none */
    uint32_t window;    /* 0: none */
    const float *sinks; /* n_heads, or NULL */
    double *scores, *mag_scores, *weights, *out, *mag;
};
void ref_attention(const struct ref_attention *a);

/* Softmax over each row of n; -inf entries get 0; a row of -inf only gets zeros. */
void ref_softmax(const double *x, size_t rows, size_t n, double *y);

/* The same where row r has one more score, sinks[r % n_sinks], whose weight is not in y. */
void ref_softmax_sinks(const double *x, const float *sinks, size_t n_sinks, size_t rows, size_t n,
                       double *y);

double ref_sigmoid(double x);  /* 1 / (1 + exp(-x)) */
double ref_silu(double x);     /* x / (1 + exp(-x)) */
double ref_gelu(double x);     /* tanh form: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
double ref_gelu_erf(double x); /* 0.5 x (1 + erf(x / sqrt 2)) */
double ref_softcap(double x, double cap); /* cap tanh(x / cap) */

/* gpt-oss: g = min(gate, 7), u = clamp(up, -7, 7): g / (1 + exp(-1.702 g)) (u + 1) */
double ref_clamped_swiglu(double gate, double up);

/* Expert choice of one token. Selection values: softmax or sigmoid of the logits over all experts
 * (or the logits themselves), plus bias. With groups, which are n_experts / n_groups neighbours
 * each, only the n_groups_used with the largest sums of their two best values count. ids: the
 * n_used largest selection values; the lowest index among equals. weights: the probabilities of
 * the chosen (without bias), or the softmax over their logits; normalised: divided by
 * max(sum, 2^-14); times scale unless that is 0. In order of descending weight, the lower index
 * first among equals. */
enum ref_gating { REF_GATING_SOFTMAX = 1, REF_GATING_SIGMOID = 2, REF_GATING_SOFTMAX_CHOSEN = 3 };
struct ref_router {
    enum ref_gating gating;
    uint32_t n_experts, n_used;
    uint32_t n_groups, n_groups_used; /* n_groups 0 or 1: none */
    const float *bias;                /* n_experts, or NULL */
    bool normalise;
    double scale;
};
enum { REF_MAX_EXPERTS = 1024 };
void ref_route(const struct ref_router *r, const double *logits, uint32_t *ids, double *weights);

/* y(n_tokens, n) = sum over the n_used slots of a token of weights(n_tokens, n_used) times x
 * (n_tokens, n_used, n); mag = sum |w x|. */
void ref_moe_sum(const double *x, const double *weights, size_t n_tokens, size_t n_used, size_t n,
                 double *y, double *mag);

/* Index of the largest of n values; the lowest index among equals; NaN is never chosen unless
 * all are. n >= 1. */
size_t ref_argmax(const double *x, size_t n);

/* ---- models -------------------------------------------------------------------------------- */

struct ref_tensor {
    enum tensor_type type;
    uint64_t dims[4]; /* innermost first, missing ones 1 */
    const uint8_t *data;
};

/* Where a model is read from: the caller's container, through three questions. Names are those
 * of the GGUF file; key is complete ("llama.block_count"). Each returns false if there is no
 * such thing; number() accepts any integer, float or bool value; number_at() an array element. */
struct ref_source {
    void *ctx;
    bool (*tensor)(void *ctx, const char *name, struct ref_tensor *out);
    bool (*number)(void *ctx, const char *key, double *out);
    bool (*number_at)(void *ctx, const char *key, size_t i, double *out);
    bool (*text)(void *ctx, const char *key, char *out, size_t cap);
};

struct ref_model;

/* Reads hyper-parameters and tensors. Tensor data must stay valid until ref_model_close. A
 * missing required key or tensor, or one of the wrong shape, is an error that names it. */
bool ref_model_open(struct ref_model **out, const struct ref_source *src, struct ref_err *e);
void ref_model_close(struct ref_model *m);

struct ref_shape {
    uint32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, n_ctx;
    uint32_t value_dim; /* of a cached V head; differs from head_dim for deepseek2 only */
    uint32_t n_experts, n_experts_used, n_ff_expert; /* 0 without experts */
};
struct ref_shape ref_model_shape(const struct ref_model *m);

/* What single operations of a layer take; of operations outside layers, layer 0 tells. rope.factors
 * lives as long as the model and is what a context of context_length tokens takes. */
struct ref_hyper {
    double norm_eps, kq_scale;
    struct ref_rope rope; /* n_dims 0: no rotation */
    double temperature;   /* Q *= ln(floor(pos / rope.n_ctx_orig) + 1) temperature + 1 */
    double attn_cap;      /* on scores; 0: none */
    uint32_t window;      /* tokens that a token sees, itself included; 0: all */
    double embd_scale, residual_scale, logit_scale; /* 1: none */
    double logit_cap;                               /* 0: none */
    bool layer_norm;                                /* else RMS */
    bool parallel; /* attention and feed-forward start from the same x */
    bool latent;   /* attention with latent keys and values */
};
struct ref_hyper ref_model_hyper(const struct ref_model *m, uint32_t layer);

/* What a forward pass hands out at a site. value, mag and dev are (rows, cols), one row per token
 * in the order of the batch. local: the error that one f32 evaluation of this operation alone may
 * make, per element, for the marginal bound of its class. dev: the error accumulated so far,
 * propagated to first order through all operations (variances added: each rounding error taken
 * as independent), for the same marginal bounds. The choice of experts is no continuous function:
 * where an error within the bounds could have turned it, dev is infinite from there on, for the
 * token and for all that attend to it. */
struct ref_values {
    enum site site;
    uint32_t layer;
    const double *value, *local, *dev;
    size_t rows, cols;
};

struct ref_forward {
    /* A batch of sequences that do not see each other, each from position 0: sequence s has
     * lengths[s] tokens; tokens holds them one after the other. */
    const int32_t *tokens;
    const size_t *lengths;
    size_t n_seqs;
    /* Types of the KV cache that K (after RoPE) and V go through: any that ref_cache_type knows;
     * blocks must divide the heads. */
    enum tensor_type k_type, v_type;
    /* What the engine rounds the inputs of products to: TYPE_F32 (0) not at all, TYPE_F16, TYPE_BF16,
     * TYPE_ID_END to the `act` type of the weights, or of the cache, in types.def. The pass does so too
     * (but for attention weights), and dev has room for an engine that rounds differently in each place
     * (forward_rounded.c), local only of what stands for several operations. Only where bounds are wanted. */
    enum tensor_type activations;
    /* Tokens per sequence that the engine is configured for, which some models choose RoPE factors
     * by; 0: the model's context_length. */
    uint32_t n_ctx;
    /* Called at each site, if not NULL; the values live until it returns. It may ask for less:
     * want() NULL = all. SCORES and WEIGHTS are called once per sequence. */
    void *ctx;
    bool (*want)(void *ctx, enum site site, uint32_t layer);
    void (*take)(void *ctx, const struct ref_values *v);
    /* Cancelled when it returns true (asked once per layer); may be NULL. */
    bool (*cancel)(void *ctx);
};

/* Logits (n_tokens in all, n_vocab) into logits, and dev as in ref_values (NULL if not wanted:
 * the pass is then about three times faster). Token out of range, a sequence longer than the
 * context, out of memory: error. */
bool ref_forward(const struct ref_model *m, const struct ref_forward *f, double *logits,
                 double *dev, struct ref_err *e);

#endif
