/* The reference: a slow scalar evaluation of what a model file says, in double precision, with the
 * magnitudes that error bounds need. It shares no arithmetic with the engine and includes nothing
 * of it. What it evaluates is written in reference/spec/operations.md and
 * reference/spec/tensor-types.md.
 *
 * Conventions. A shape (a, b) is in row-major order: b is the index that varies fastest. A matrix W
 * has n_out rows of n_in weights; a batch of vectors is (n_cols, n_in), one vector after the other.
 * u = 2^-24 is the unit roundoff of binary32: rounding x to the nearest moves it by u |x| at most.
 *
 * An output `mag` has the shape of the result that it goes with, and may be NULL where it is not
 * wanted. It is the magnitude that the rounding errors of that result are a part of: the sum of the
 * absolute values of the terms that are added up, as stated for each function. The caller
 * multiplies it with u and a number of roundings. It is never negative.
 *
 * Memory. The caller owns all arrays, in and out, and no function keeps one, except that a model
 * keeps the tensor data that its source gave it (ref_model_open). Inputs and outputs do not overlap
 * unless a comment allows it. Functions may be called from several threads at a time; a model is
 * not changed by a pass.
 */
#ifndef REF_H
#define REF_H

#include "spec/spec.h"

/* Why a function returned false. Written only then; the caller owns it. */
struct ref_err {
    char text[512];   /* one line without its end: what is wrong, where, and the number that is */
    bool unsupported; /* true: the file is well-formed, but the reference does not compute it */
};

/* Number of threads for everything below; 0 = one for each core that the process may run on.
 * Results do not depend on it. */
void ref_set_threads(int n);

/* Runs fn(ctx, i) for every i in [0, n), in any order, on those threads, and returns when all calls
 * have. Each call must write to places of its own. A loop inside fn runs on the thread that fn is
 * on. */
void ref_parallel(size_t n, void (*fn)(void *ctx, size_t i), void *ctx);

/* Rounds x (rows, n) in place as llama.cpp's CPU backend rounds activations before a product: to
 * F16, to BF16, or to blocks of Q8_0, Q8_1 (the same numbers) or Q8_K. Any other type, and blocks
 * that do not fill a row, round to binary32. Which type goes with which weights is the column
 * "activation" of reference/spec/tensor-types.md, "Type ids". */
void ref_round_activations(enum tensor_type t, double *x, size_t rows, size_t n);
/* For the same rows, before they are rounded: step (rows, n) is the distance between two
 * neighbouring codes where x lies so near to the middle between them that the engine's own
 * roundings (of x / d and of 127 / max, in binary32) decide which it takes; 0 elsewhere, and for
 * types without blocks. */
void ref_round_borders(enum tensor_type t, const double *x, size_t rows, size_t n, double *step);

/* ---- numbers --------------------------------------------------------------------------- */

float ref_f16_to_f32(uint16_t h);  /* exact; subnormals, infinities, NaN honoured */
float ref_bf16_to_f32(uint16_t b); /* exact */
uint16_t ref_f32_to_f16(float x);  /* round to nearest even; overflow to infinity */
uint16_t ref_f32_to_bf16(float x); /* round to nearest even; NaN stays NaN */

/* ---- tensor types ------------------------------------------------------------------------ */

/* Decodes n values (a multiple of the type's block) to binary32, exactly as
 * reference/spec/tensor-types.md prescribes. There is one function ref_decode_<c name> for each
 * type with a decoder; ref_decode calls the one of t, and returns false, with out as it was, for a
 * type without. */
bool ref_decode(enum tensor_type t, const uint8_t *blocks, size_t n, float *out);
#define TYPE(e, id, name, c, elems, bytes, use, act)                                               \
    IF_DECODED(use)(void ref_decode_##c(const uint8_t *blocks, size_t n, float *out);)
#include "spec/types.def"
#undef TYPE

/* Encodes the n values (a multiple of the type's block) of one row into out, whose decoded values
 * then lie close to x: sum weight (x - y)^2 is small. The same input gives the same bytes on every
 * machine. x must be finite. weight: n values >= 0, the importance of each column relative to the
 * others, or NULL, which means that all count the same. There is one function ref_encode_<c name>
 * for each weight type; ref_encode returns false for types that are none. */
bool ref_encode(enum tensor_type t, const float *x, size_t n, const float *weight, uint8_t *out);
#define TYPE(e, id, name, c, elems, bytes, use, act)                                               \
    IF_WEIGHT(use)                                                                                 \
    (void ref_encode_##c(const float *x, size_t n, const float *weight, uint8_t *out);)
#include "spec/types.def"
#undef TYPE

/* ref_encode for n_rows rows of n_cols values, on the threads of ref_set_threads(); weight: n_cols
 * values for all rows, or NULL. progress, which may be NULL, is called with ctx and the number of
 * rows that are finished, by one thread at a time, but not always by the caller's. False for types
 * that are no weight types, and if n_cols is not a multiple of the type's block. */
bool ref_encode_rows(enum tensor_type t, const float *x, size_t n_rows, size_t n_cols,
                     const float *weight, uint8_t *out, void (*progress)(void *ctx, size_t rows),
                     void *ctx);

/* True for the types that a KV cache may have. How a value is rounded to each of them:
 *
 * F32, F16, BF16: to nearest even; NaN stays NaN. The others are blocks of 32 values, which must be
 * finite. All arithmetic is in binary32, rounded to nearest even after every operation. id = 1 / d,
 * or 0 where d is 0 or 1 / d is not finite. Codes are computed with d; the block stores the
 * binary16 nearest to it.
 *
 *   Q8_0    amax = max |x|, d = amax / 127; q = roundf(x id), halves away from 0
 *   Q4_0    m = the x of largest |x| with its sign, the first of equals; d = m / -8;
 *           q = min(15, (int)(x id + 8.5))
 *   Q5_1    lo = min x, hi = max x, d = (hi - lo) / 31; q = min(31, (int)((x - lo) id + 0.5));
 *           lo is stored as binary16 too
 *   IQ4_NL  m as for Q4_0, d = m / -127; q: the level nearest to x id, the lower one of equals */
bool ref_cache_type(enum tensor_type t);

/* Writes n values (a multiple of the type's block) into out as a cache of type t stores them. False
 * for types that ref_cache_type refuses. */
bool ref_cache_encode(enum tensor_type t, const float *x, size_t n, uint8_t *out);

/* ---- operations --------------------------------------------------------------------------- */

/* y (n_cols, n_out) = W x + bias. w: n_out rows of n_in weights of type t; x (n_cols, n_in); bias:
 * n_out values, or NULL for none. mag = sum_k |w_ik x_k| + |bias_i|. Weights of a type without a
 * decoder count as NaN. */
void ref_matmul(enum tensor_type t, const uint8_t *w, size_t n_out, size_t n_in, const double *x,
                size_t n_cols, const float *bias, double *y, double *mag);

/* y = x / sqrt(mean(x^2) + eps) * w for each row. x, y (rows, n); w: n values. y may be x. mag =
 * |y|: all terms of mean(x^2) are positive, so that its rounding errors are relative ones. */
void ref_rms_norm(const double *x, const float *w, size_t rows, size_t n, double eps, double *y,
                  double *mag);

/* y = (x - mean) / sqrt(var + eps) * w + b for each row, with var = mean((x - mean)^2). x, y (rows,
 * n); w, b: n values; b may be NULL for none. y may be x. The roundings of the mean move x - mean
 * by a part of mean|x|, and those of x - mean move the root by a part of mean(|x - mean| |x|) r^2,
 * where r = 1 / sqrt(var + eps). So
 *     mag_i = r |w_i| (|x_i| + mean|x| + |x_i - mean| r^2 mean(|x - mean| |x|)) + |b_i|. */
void ref_layer_norm(const double *x, const float *w, const float *b, size_t rows, size_t n,
                    double eps, double *y, double *mag);

enum ref_pairing { REF_ROPE_NORM, REF_ROPE_NEOX };

/* Everything that makes an angle; reference/spec/operations.md, "RoPE" and "YaRN". */
struct ref_rope {
    enum ref_pairing pairing;
    uint32_t n_dims;              /* values of a head that are rotated: the first ones; even */
    double freq_base, freq_scale; /* freq_scale = 1 / factor; 1 without scaling */
    double ext_factor;            /* of YaRN: 1; 0 without it */
    double attn_factor;           /* what the file gives; it is already part of `magnitude` */
    double beta_fast, beta_slow;  /* of YaRN: turns over n_ctx_orig that bound the ramp */
    double magnitude;             /* what cos and sin are multiplied with; the page's m */
    uint32_t n_ctx_orig;          /* of YaRN and longrope: tokens of the original context */
    const float *factors;         /* n_dims / 2 divisors of the angles; NULL: all 1 */
};

/* *c and *s: cos and sin of the angle of a pair, 0 <= pair < n_dims / 2, at position pos, times the
 * magnitude. */
void ref_rope_angle(const struct ref_rope *r, int64_t pos, uint32_t pair, double *c, double *s);

/* Rotates the heads of x (n_tokens, n_heads, head_dim) in place; pos: n_tokens positions. For a
 * pair (a, b), mag of a is |a c| + |b s| and mag of b is |a s| + |b c|; of a value that is only
 * copied it is |x|. */
void ref_rope(const struct ref_rope *r, double *x, const int32_t *pos, size_t n_tokens,
              size_t n_heads, size_t head_dim, double *mag);

/* Attention over explicit cells: reference/spec/operations.md, "Attention" and "Masks and windows".
 *
 * A token sees a cell if first <= cell_pos <= pos and pos - cell_pos < window; a cell with a
 * negative cell_pos is empty and hidden. The score is scale q.k, or cap tanh(scale q.k / cap). A
 * sink is one more score of its head, whose weight goes nowhere. A token that sees nothing gets
 * zeros. Keys and values of hidden cells are never read. */
struct ref_attention {
    const double *q;         /* (n_tokens, n_heads, head_dim) */
    const double *k;         /* (n_cells, n_kv_heads, head_dim) */
    const double *v;         /* (n_cells, n_kv_heads, value_dim) */
    const int32_t *pos;      /* (n_tokens) */
    const int32_t *first;    /* (n_tokens): lowest position that a token sees; NULL: 0 for all */
    const int32_t *cell_pos; /* (n_cells) */
    size_t n_tokens, n_cells;
    size_t n_heads, n_kv_heads; /* n_heads is a multiple of n_kv_heads */
    size_t head_dim, value_dim; /* value_dim 0: head_dim */
    double scale;
    double cap;         /* 0: none */
    uint32_t window;    /* tokens, the token itself included; 0: no window */
    const float *sinks; /* (n_heads); NULL: none */
    /* Outputs; all but out may be NULL. */
    double *scores;     /* (n_tokens, n_heads, n_cells); hidden cells: -inf */
    double *mag_scores; /* as scores: |scale| sum_d |q k|, before the cap; hidden: 0 */
    double *weights;    /* as scores: the softmax; hidden cells: 0 */
    double *out;        /* (n_tokens, n_heads, value_dim) */
    double *mag;        /* as out: sum_c weight |v| */
};
void ref_attention(const struct ref_attention *a);

/* Softmax over each row; x, y (rows, n); y may be x. -inf gets 0; a row of nothing but -inf gets
 * zeros; a row with a NaN gets NaN. */
void ref_softmax(const double *x, size_t rows, size_t n, double *y);

/* The same where row r has one more score, sinks[r % n_sinks], which takes part in the sum and
 * whose weight is not in y. */
void ref_softmax_sinks(const double *x, const float *sinks, size_t n_sinks, size_t rows, size_t n,
                       double *y);

double ref_sigmoid(double x);  /* 1 / (1 + exp(-x)) */
double ref_silu(double x);     /* x / (1 + exp(-x)) */
double ref_gelu(double x);     /* tanh form: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
double ref_gelu_erf(double x); /* 0.5 x (1 + erf(x / sqrt 2)) */
double ref_softcap(double x, double cap); /* cap tanh(x / cap) */

/* gpt-oss: g = min(gate, 7), u = clamp(up, -7, 7): g / (1 + exp(-1.702 g)) (u + 1) */
double ref_clamped_swiglu(double gate, double up);

/* The choice of experts for one token: reference/spec/operations.md, "Mixture of experts". Among
 * equal selection values the lower index is chosen. */
enum ref_gating { REF_GATING_SOFTMAX = 1, REF_GATING_SIGMOID = 2, REF_GATING_SOFTMAX_CHOSEN = 3 };
struct ref_router {
    enum ref_gating gating;
    uint32_t n_experts, n_used;       /* n_used <= n_experts <= REF_MAX_EXPERTS */
    uint32_t n_groups, n_groups_used; /* n_groups divides n_experts; 0 or 1: there are no groups */
    const float *bias;                /* (n_experts), added for the choice alone; NULL: none */
    bool normalise;                   /* divide weights by max(their sum, 2^-14) */
    double scale;                     /* factor on the weights; 0: none */
};
enum { REF_MAX_EXPERTS = 1024 };

/* logits (n_experts); ids, weights (n_used): the chosen by descending weight, the lower index first
 * among equals. */
void ref_route(const struct ref_router *r, const double *logits, uint32_t *ids, double *weights);

/* y (n_tokens, n) = sum over the n_used slots of a token of weight times x; weights (n_tokens,
 * n_used), x (n_tokens, n_used, n). mag = sum |weight x|. */
void ref_moe_sum(const double *x, const double *weights, size_t n_tokens, size_t n_used, size_t n,
                 double *y, double *mag);

/* Index of the largest of n values; the lowest index among equals; NaN is never chosen unless
 * all are. n >= 1. */
size_t ref_argmax(const double *x, size_t n);

/* ---- models -------------------------------------------------------------------------------- */

struct ref_tensor {
    enum tensor_type type;
    uint64_t dims[4];    /* innermost first; those that are missing are 1 */
    const uint8_t *data; /* blocks of the type; owned by the source */
};

/* Where a model is read from: four questions to the caller's container, each asked with ctx. Names
 * are those of the GGUF file, keys are complete ("llama.block_count"). A question returns false,
 * and may leave out as it is, if the file has no such tensor or key, or a value of another kind. */
struct ref_source {
    void *ctx;
    bool (*tensor)(void *ctx, const char *name, struct ref_tensor *out);
    bool (*number)(void *ctx, const char *key, double *out); /* an integer, a float or a bool */
    bool (*number_at)(void *ctx, const char *key, size_t i, double *out); /* entry i of an array */
    bool (*text)(void *ctx, const char *key, char *out, size_t cap);      /* cut to cap - 1 bytes */
};

struct ref_model;

/* Reads hyper-parameters and finds tensors. The source is asked only until this function returns,
 * but the data of its tensors must stay valid until ref_model_close. A required key or tensor that
 * is missing, or one of the wrong shape, is an error that names it; *out is NULL then. The caller
 * owns *out and releases it with ref_model_close, which accepts NULL. */
bool ref_model_open(struct ref_model **out, const struct ref_source *src, struct ref_err *e);
void ref_model_close(struct ref_model *m);

const char *ref_model_arch(const struct ref_model *m); /* general.architecture */

struct ref_shape {
    uint32_t n_layers, n_embd;
    uint32_t n_heads, n_kv_heads; /* of queries; of keys and values */
    uint32_t head_dim;            /* values of a head of Q, and of a cached head of K */
    uint32_t n_ff, n_vocab;
    uint32_t n_ctx;     /* tokens: the key context_length */
    uint32_t value_dim; /* of a cached head of V; not head_dim in deepseek2 alone */
    uint32_t n_experts, n_experts_used, n_ff_expert; /* 0 without experts */
};
struct ref_shape ref_model_shape(const struct ref_model *m);

/* The numbers that single operations of a layer take; reference/spec/operations.md has their
 * meaning. Those of operations outside layers are the same in every layer. */
struct ref_hyper {
    double norm_eps, kq_scale;
    struct ref_rope rope; /* for a context of n_ctx tokens; n_dims 0: the layer does not rotate.
                           * rope.factors is owned by the model */
    double temperature;   /* t: Q is multiplied by ln(floor(pos / rope.n_ctx_orig) + 1) t + 1 */
    double attn_cap;      /* soft cap of the scores; 0: none */
    uint32_t window;      /* tokens that a token sees, itself included; 0: all */
    double embd_scale, residual_scale, logit_scale; /* factors; 1: none */
    double logit_cap;                               /* soft cap of the logits; 0: none */

    bool layer_norm; /* true: norms are LayerNorm, false: RMSNorm */
    bool parallel;   /* layers are parallel: both parts start from the same x ("Layer forms") */
    bool latent;     /* attention is that with latent keys and values ("deepseek2") */
};
struct ref_hyper ref_model_hyper(const struct ref_model *m, uint32_t layer);

/* What a forward pass hands out at a site. The arrays are (rows, cols), one row for each token in
 * the order of the batch, and are valid until the callback returns.
 *
 * local and dev are absolute errors, in the unit of the value: how far a value that an engine
 * computes in binary32 may be from `value`. Both are marginal bounds, at lambda = 8 (Higham & Mary
 * 2019; see forward_priv.h): eight times the standard deviation of errors that are independent and
 * of mean zero.
 *   local  what one evaluation of this operation alone may add, from inputs that are the
 *          reference's, rounded to binary32
 *   dev    all that may have come together from the token ids to here: the errors of the inputs,
 *          propagated to first order, and local, added in squares
 * The choice of experts is discontinuous. Where an error within the bounds could have turned it,
 * dev is infinite from there on, for the token and for all that attend to it: no claim is made. */
struct ref_values {
    enum site site;
    uint32_t layer; /* 0 for sites of the model */
    const double *value, *local, *dev;
    size_t rows, cols;
};

struct ref_forward {
    /* A batch of n_seqs sequences that do not see each other, each from position 0. Sequence s has
     * lengths[s] tokens; tokens holds all of them, one sequence after the other. */
    const int32_t *tokens;
    const size_t *lengths;
    size_t n_seqs;
    /* Types of the KV cache, to which K (after RoPE) and V are rounded: any that ref_cache_type
     * knows. Its blocks must divide the heads. */
    enum tensor_type k_type, v_type;
    /* The type to which the engine rounds the inputs of products: TYPE_F32 (0): it does not;
     * TYPE_F16; TYPE_BF16; TYPE_ID_END: the "activation" type of the weights, or of the cache, in
     * types.def.
     *  - The pass rounds in the same places, except for attention weights.
     *  - dev has room for an engine that rounds differently in each place (forward_rounded.c).
     *  - local has that room only at sites that stand for several operations in a row.
     *  - Only passes that compute bounds round: those with `take`, or with `dev` of ref_forward. */
    enum tensor_type activations;
    /* Tokens that the engine is configured for in each sequence, by which some models choose their
     * RoPE factors; 0: the model's n_ctx. */
    uint32_t n_ctx;
    /* take, which may be NULL, is called with ctx at each site for which want returns true, on the
     * caller's thread; want NULL: at all. SCORES and WEIGHTS are taken once for each sequence:
     * rows are its tokens. */
    void *ctx;
    bool (*want)(void *ctx, enum site site, uint32_t layer);
    void (*take)(void *ctx, const struct ref_values *v);
    /* Asked once for each layer; the pass fails with "cancelled ..." when it returns true. NULL:
     * never. */
    bool (*cancel)(void *ctx);
};

/* Writes logits (tokens of the whole batch, n_vocab), and dev, of the same shape and as in
 * ref_values; dev may be NULL where it is not wanted, and without `take` the pass is then about
 * three times faster. A token outside the vocabulary, a sequence longer than the context, a cache
 * that does not fit and a lack of memory are errors. */
bool ref_forward(const struct ref_model *m, const struct ref_forward *f, double *logits,
                 double *dev, struct ref_err *e);

#endif
