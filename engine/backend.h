/* A backend: memory on a device, and the table of operations. One struct of arguments per
 * operation (a row of reference/spec/ops.def). Values are f32 unstated otherwise, in row-major
 * order, the last dimension contiguous. An operation whose slot is NULL is not supported.
 *
 * Operations are queued in order; each sees the results of those before it. They may return
 * before they have run: backend download and flush wait. Arguments are checked by the caller
 * (engine/arch, suites), sizes in range of uint32_t.
 */
#ifndef BACKEND_H
#define BACKEND_H

#include "engine/base/base.h"
#include "spec/spec.h"

struct backend; /* an opened device; each backend has a struct of its own that begins with
                   struct backend_base */
struct dbuf;    /* memory on it */

/* Bytes from off on. The bytes belong to the buffer's owner. buf NULL: absent. */
struct view {
    struct dbuf *buf;
    size_t off; /* multiple of 4 */
};

/* A matrix: n_out rows of n_in weights of a type, rows one after the other. */
struct weight {
    struct view at;
    enum tensor_type type;
    uint32_t n_in, n_out;
};

/* out (n, n_in) = rows ids[i] of w, decoded. ids (n) i32, each in [0, n_out). */
struct op_get_rows {
    struct weight w;
    struct view ids, out;
    uint32_t n;
};

/* Per row of n, out may be x:
 *   rms_norm:   out = x / sqrt(mean(x^2) + eps) * w; b absent
 *   layer_norm: out = (x - mean) / sqrt(var + eps) * w + b, var = mean((x - mean)^2); b may be absent
 * Row r takes row r % w_rows of w and b (w_rows, n): weights of each head, if w_rows > 1. */
struct op_norm {
    struct view x, w, b, out;
    uint32_t rows, n, w_rows;
    float eps;
};

/* out (n_cols, n_out) = W x (+ bias). x (n_cols, n_in), bias (n_out) or absent. matvec is for 1
 * to 8 columns, matmul for any number. out must not overlap x. */
struct op_matmul {
    struct weight w;
    struct view x, bias, out;
    uint32_t n_cols;
};

/* out (n_tokens, n_used, n_out) = W[ids[t][s]] x (+ bias[ids[t][s]]), ids (n_tokens, n_used) i32,
 * each in [0, n_experts). w holds n_experts matrices of w.n_out rows, one after the other; bias
 * (n_experts, n_out) or absent. x is (n_tokens, n_in), or (n_tokens, n_used, n_in) if x_per_slot.
 * The same expert may come up in any number of tokens and slots, or in none. */
struct op_matmul_id {
    struct weight w;
    struct view x, ids, bias, out;
    uint32_t n_tokens, n_used, n_experts;
    bool x_per_slot;
};

enum rope_pairing { ROPE_NORM, ROPE_NEOX }; /* pairs (2p, 2p+1) or (p, p + n_dims/2) */

/* Rotates dimensions [first, first + n_dims) of each head in place: x (n_tokens, n_heads,
 * head_dim). Pairs count from first on. table (n_tokens, n_dims/2, 2) holds cos and sin, made on
 * the host in double precision. */
struct op_rope {
    struct view x, table;
    uint32_t n_tokens, n_heads, head_dim, first, n_dims;
    enum rope_pairing pairing;
};

/* cache row cells[t] = src row t, converted to type. src (n_tokens, row), cells (n_tokens) i32,
 * cache (n_cells, row) of type; row a multiple of the type's block. F16 and BF16 round to nearest
 * even; how Q8_0, Q4_0, Q5_1 and IQ4_NL are rounded is in reference/ref.h (ref_cache_encode). */
struct op_kv_write {
    struct view src, cells, cache;
    uint32_t n_tokens, row;
    enum tensor_type type;
};

/* q (n_tokens, n_heads, head_dim); k (n_cells, n_kv_heads, head_dim) of k_type, v (n_cells,
 * n_kv_heads, value_dim) of v_type; pos, first (n_tokens) i32, cell_pos (n_cells) i32: the position
 * that a cell holds, -1 = empty. Query t sees cell c iff first[t] <= cell_pos[c] <= pos[t], first[t]
 * >= 0: windows and sequences are the caller's choice of first and of positions. Hidden cells never
 * matter, whatever they hold. Head h reads kv head h / (n_heads/n_kv_heads). A score is z = scale
 * q k, or softcap tanh(z / softcap) if softcap is not 0. sinks (n_heads), or absent: one more score
 * of each head, not scaled, not capped, whose weight goes nowhere. A query that sees nothing gives
 * zeros.
 *   attention:   out (n_tokens, n_heads, value_dim) = softmax(scores) v, probs unused
 *   attn_scores: probs (n_tokens, n_heads, n_cells) = scores, hidden cells -inf; v, out unused;
 *                sinks belong to softmax
 *   attn_mix:    out = probs v, hidden cells not read; q, k unused */
struct op_attention {
    struct view q, k, v, pos, first, cell_pos, sinks, probs, out;
    uint32_t n_tokens, n_heads, n_kv_heads, head_dim, value_dim, n_cells;
    enum tensor_type k_type, v_type;
    float scale, softcap;
};

/* out (rows, n) = softmax(x); -inf gives 0, a row of -inf only gives zeros; out may be x. sinks
 * (n_sinks), or absent: row r has one more score, sinks[r % n_sinks], that counts in the maximum
 * and in the sum and is not in out. */
struct op_softmax {
    struct view x, sinks, out;
    uint32_t rows, n, n_sinks;
};

/* argmax: out (rows) i32, the lowest index of the largest value. */
struct op_rows {
    struct view x, out;
    uint32_t rows, n;
};

/* out[i] = f(x[i]); out may be x. gelu is the tanh form, gelu_erf the exact one; sigmoid is
 * 1 / (1 + exp(-x)). */
struct op_unary {
    struct view x, out;
    uint32_t n;
};

/* add: a + b. silu_mul: silu(a) * b. gelu_mul: gelu(a) * b. gelu_erf_mul: gelu_erf(a) * b.
 * swiglu_oai: with g = min(a, 7), u = clamp(b, -7, 7): g / (1 + exp(-1.702 g)) * (u + 1). out may
 * be a or b. */
struct op_binary {
    struct view a, b, out;
    uint32_t n;
};

/* scale: out[i] = factor * x[i]. softcap: out[i] = factor * tanh(x[i] / factor), factor > 0. out may
 * be x. */
struct op_scale {
    struct view x, out;
    uint32_t n;
    float factor;
};

/* out (rows, n): row r of x times factors[r]; out may be x. */
struct op_scale_rows {
    struct view x, factors, out;
    uint32_t rows, n;
};

/* out[r * out_row + g * out_group + i] = x[r * x_row + g * x_group + i] for r < rows, g < groups,
 * i < n: strides in values, 0 repeats. out must not overlap x. */
struct op_copy {
    struct view x, out;
    uint32_t rows, groups, n;
    uint32_t x_row, x_group, out_row, out_group;
};

enum route_gating { ROUTE_SOFTMAX = 1, ROUTE_SIGMOID = 2, ROUTE_SOFTMAX_CHOSEN = 3 };

/* Expert choice, per token: logits (n_tokens, n_experts), ids (n_tokens, n_used) i32 and weights
 * (n_tokens, n_used) out. p = softmax or sigmoid of the logits over all experts, or the logits
 * themselves (ROUTE_SOFTMAX_CHOSEN). Selection values are p + bias; bias (n_experts) or absent. With
 * n_groups > 1, which are n_experts / n_groups neighbours each, only the n_groups_used groups with
 * the largest sums of their two best selection values count. The n_used largest are chosen, the
 * lowest index among equals (groups likewise). Weights are p of the chosen, without bias, or the
 * softmax over their logits; normalise: divided by max(sum, 2^-14); then times scale. Slots are in
 * order of descending weight, the lower index first among equals. n_experts <= 1024. */
struct op_route {
    struct view logits, bias, ids, weights;
    uint32_t n_tokens, n_experts, n_used, n_groups, n_groups_used;
    enum route_gating gating;
    bool normalise;
    float scale;
};

/* out (n_tokens, n) = sum over s of weights[t][s] x[t][s]; x (n_tokens, n_used, n), weights
 * (n_tokens, n_used). out must not overlap x. */
struct op_moe_sum {
    struct view x, weights, out;
    uint32_t n_tokens, n_used, n;
};

struct backend_stats {
    uint64_t dispatches; /* operations that ran on the device since it was opened */
    char variant[64];    /* kernel variant of the last one: "matvec_q4_k_rows" */
    bool flushes;        /* the device may take subnormals of binary32 for zeros */
};

struct device_info {
    char subject[32]; /* "vulkan:0" */
    char name[128], driver[128], api[64];
    uint64_t memory_bytes;
    uint32_t subgroup_size;
    char features[256]; /* used and missing ones, in words */
};

struct backend_options {
    const char *device;  /* index or NULL for the default one (and its environment variable) */
    int n_threads;       /* cpu: 0 = one per core */
    const char *variant; /* forces kernels: the backend's own words, joined by '+'; NULL = choose.
                          * Unknown ones are ignored: backend_check knows them. */
};

struct backend_ops {
    const char *name; /* "cpu", "vulkan", "cuda", "cuda-sim" */
    /* Words that force kernels, separated by spaces; one that ends in '=' or '-' takes more. */
    const char *words;

    /* ST_NO_DEVICE with the reason when there is none. */
    enum status (*open)(struct backend **out, const struct backend_options *o, struct err *e);
    void (*close)(struct backend *b);
    /* The i-th device; ST_NO_DEVICE past the last, with the reason when i is 0. */
    enum status (*describe)(uint32_t i, struct device_info *out, struct err *e);

    /* Memory, not initialised. NULL-safe release, after which queued work may still run. */
    enum status (*alloc)(struct backend *b, size_t bytes, struct dbuf **out, struct err *e);
    void (*release)(struct backend *b, struct dbuf *buf);
    /* Weights: host memory that stays valid and unchanged until release. The CPU reads it in
     * place, others upload it. */
    enum status (*import)(struct backend *b, const void *host, size_t bytes, struct dbuf **out,
                          struct err *e);
    /* In order with the operations; src may be reused at once. */
    enum status (*upload)(struct backend *b, struct view dst, const void *src, size_t bytes,
                          struct err *e);
    enum status (*download)(struct backend *b, void *dst, struct view src, size_t bytes,
                            struct err *e);
    enum status (*flush)(struct backend *b, struct err *e);
    void (*stats)(struct backend *b, struct backend_stats *out);

#define OP(name, args, types, tol)                                                                 \
    enum status (*name)(struct backend * b, const struct op_##args *a, struct err *e);
#include "spec/ops.def"
#undef OP
};

/* First member of every backend's own struct. */
struct backend_base {
    const struct backend_ops *ops;
};

static inline const struct backend_ops *backend_ops_of(const struct backend *b)
{
    return ((const struct backend_base *)(const void *)b)->ops;
}

/* The backends built into this program, in a fixed order; NULL past the last. */
const struct backend_ops *backend_at(size_t i);
/* By name; NULL if there is none of that name. */
const struct backend_ops *backend_by_name(const char *name);
/* "cpu", "vulkan:1", "vulkan+reduce+half": a name, the index of a device, words that force kernels.
 * ST_USAGE if it names nothing that there could be. */
enum status backend_check(const char *spec, struct err *e);
/* Checks and opens. A backend left out at build time: ST_NO_DEVICE, with the reason. */
enum status backend_open(struct backend **out, const char *spec, const struct backend_options *o,
                         struct err *e);
void backend_close(struct backend *b);

#endif
