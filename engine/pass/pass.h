/* The forward pass of every architecture: pass_forward (decoder.c) over the building blocks below,
 * which queue operations on a backend. What a model is made of: model.h. */
#ifndef PASS_H
#define PASS_H

#include "engine/kv.h"
#include "engine/model/model.h"

/* Device memory of a batch, n_batch tokens wide. What a model does not need is absent. */
struct scratch {
    struct view x;                           /* (n_tokens, n_embd): the residual stream */
    struct view norm, proj;                  /* (n_tokens, n_embd) */
    struct view q, k;                        /* (n_tokens, n_heads or n_kv_heads, head_dim) */
    struct view v;                           /* (n_tokens, n_kv_heads, value_dim) */
    struct view attn;                        /* (n_tokens, n_heads, value_dim, or mla.value_dim) */
    struct view gate, up;                    /* (n_tokens, n_ff) */
    struct view ids, pos, seq_pos, out_rows; /* (n_tokens) i32; seq_pos: within the sequence */
    struct view temperature;                 /* (n_tokens) */
    struct view first[KV_KINDS], cells[KV_KINDS]; /* (n_tokens) i32 */
    struct view rope[KV_KINDS];                   /* (n_tokens, n_dims/2, 2) */
    struct view logits;                           /* (LOGIT_ROWS, n_vocab) */
    struct view probs; /* (n_tokens, n_heads, n_cells): absent until first needed */
    struct {
        struct view router;          /* (n_tokens, n_experts) */
        struct view ids, weights;    /* (n_tokens, n_used) */
        struct view gate, up;        /* (n_tokens, n_used, n_ff_expert) */
        struct view gate_up;         /* (n_tokens, n_used, 2 n_ff_expert) */
        struct view out;             /* (n_tokens, n_used, n_embd) */
        struct view shared;          /* (n_tokens, n_embd) */
        struct view shared_gate;     /* (n_tokens) */
        struct view factors, biases; /* (n_tokens, n_used), (n_tokens, n_used, widest) */
    } moe;
    struct {
        struct view query;    /* (n_tokens, mla.n_query) */
        struct view raw;      /* (n_tokens, n_heads, mla.key_dim) */
        struct view kv;       /* (n_tokens, mla.n_latent + rope.n_dims) */
        struct view latent;   /* (n_tokens, mla.n_latent) */
        struct view heads;    /* (n_tokens, n_heads, what is not rotated of a key [+ value_dim]) */
        struct view absorbed; /* (n_tokens, n_heads, mla.n_latent) */
        struct view head_ids; /* (n_tokens, n_heads) i32: 0, 1, 2 ... */
    } mla;
};

enum { LOGIT_ROWS = 32, MATVEC_COLS = 8 };

/* One batch on its way through a model. */
struct pass {
    const struct engine_model *model;
    struct backend *be;
    const struct backend_ops *ops;
    const struct engine_probe *probe; /* may be NULL */
    struct dbuf **weights;            /* by index of model->tensors */
    struct kv_cache *kv;
    struct scratch at;
    uint32_t n_tokens, n_batch;
    struct kv_range cells[KV_KINDS]; /* that the batch can see */
    /* Rows whose logits are wanted: n_out from out_first on; or those in at.out_rows. */
    uint32_t out_first, n_out;
    bool gathered;
    bool unfused, always_matmul;
    float *logits; /* host, (n_out, n_vocab) */
    float *host;   /* of the probe; grows */
    size_t host_cap;
};

/* Queues an operation, or says that the backend has none. */
#define RUN(p, op, args, e)                                                                        \
    ((p)->ops->op ? (p)->ops->op((p)->be, (args), (e))                                             \
                  : fail((e), ST_UNSUPPORTED, "backend %s has no operation " #op, (p)->ops->name))

/* The forward pass: from at.ids and the positions to p->logits. */
enum status pass_forward(struct pass *p, struct err *e);

/* ---- building blocks (blocks.c)
 * --------------------------------------------------------------- */

struct view pass_weight(const struct pass *p, uint32_t index); /* absent if index is 0 */
/* x = rows of token_embd, scaled, with those of the positions. */
enum status pass_embed(struct pass *p, struct err *e);
/* Normalises groups of n->n values; out may be x. */
enum status pass_norm(struct pass *p, const struct norm *n, struct view x, struct view out,
                      size_t groups, struct err *e);
/* out (n_cols, n_out) = l x. */
enum status pass_linear(struct pass *p, const struct linear *l, struct view x, struct view out,
                        uint32_t n_cols, struct err *e);
/* out (n_tokens, n_used, n_out) = s[ids] x, as struct op_matmul_id. */
enum status pass_stack(struct pass *p, const struct stack *s, struct view x, bool x_per_slot,
                       struct view ids, uint32_t n_used, struct view out, struct err *e);
/* x += y, (n_tokens, n_embd). */
enum status pass_add(struct pass *p, struct view x, struct view y, struct err *e);
/* x *= factor, unless that is 1. */
enum status pass_scale(struct pass *p, struct view x, size_t n, float factor, struct err *e);
/* Norm and logits of the rows that are wanted, into p->logits. */
enum status pass_logits(struct pass *p, struct err *e);

/* Shows values (rows, cols) to the probe and takes what it gives in their place. */
enum status pass_probe(struct pass *p, enum site site, uint32_t layer, struct view at, size_t cols,
                       struct err *e);
bool pass_probe_wants(const struct pass *p, enum site site, uint32_t layer);

/* ---- attention (attention.c, mla.c) ---------------------------------------------------------- */

/* at.q, at.k, at.v from x: projected, normalised, rotated. */
enum status pass_qkv(struct pass *p, uint32_t layer, struct view x, struct err *e);
/* The same over latent vectors. */
enum status pass_mla_qkv(struct pass *p, uint32_t layer, struct view x, struct err *e);
enum status pass_rope(struct pass *p, uint32_t layer, struct view x, uint32_t n_heads,
                      uint32_t head_dim, uint32_t first, struct err *e);
/* Writes at.k, at.v to the cache; at.attn = attention of at.q over it. */
enum status pass_attention(struct pass *p, uint32_t layer, struct err *e);

/* ---- feed-forward (ffn.c)
 * --------------------------------------------------------------------- */

/* out = the layer's feed-forward, or experts, of x. */
enum status pass_ffn(struct pass *p, uint32_t layer, struct view x, struct view out, struct err *e);

#endif
