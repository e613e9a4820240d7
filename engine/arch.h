/* Architectures: one file each in engine/arch/, with a loader and one straight forward pass over
 * the op vtable. Below are the pass they work on and the building blocks they share
 * (engine/arch/blocks.c). */
#ifndef ARCH_H
#define ARCH_H

#include "kv.h"
#include "model.h"

/* Device memory of a batch, n_batch tokens wide. */
struct scratch {
    struct view x;                      /* (n_tokens, n_embd): the residual stream */
    struct view norm, proj;             /* (n_tokens, n_embd) */
    struct view q, attn;                /* (n_tokens, n_heads, head_dim) */
    struct view k, v;                   /* (n_tokens, n_kv_heads, head_dim) */
    struct view gate, up;               /* (n_tokens, n_ff) */
    struct view ids, pos, first, cells; /* (n_tokens) i32 */
    struct view rope;                   /* (n_tokens, n_dims/2, 2) */
    struct view logits;                 /* (LOGIT_ROWS, n_vocab) */
    struct view probs; /* (n_tokens, n_heads, n_cells): absent until first needed */
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
    uint32_t n_tokens, n_batch, n_cells;
    uint32_t out_first, n_out; /* rows whose logits are wanted: the last, all, or none */
    bool unfused, always_matmul;
    float *logits; /* host, (n_out, n_vocab) */
    float *host;   /* of the probe; grows */
    size_t host_cap;
};

struct arch {
    const char *name; /* general.architecture */
    enum status (*load)(struct engine_model *m, struct err *e);
    enum status (*forward)(struct pass *p, struct err *e);
};
/* In the order of arch/archs.def; NULL past the last. */
const struct arch *arch_at(size_t i);

#define ARCH(id, name)                                                                             \
    enum status load_##id(struct engine_model *m, struct err *e);                                  \
    enum status forward_##id(struct pass *p, struct err *e);
#include "arch/archs.def"
#undef ARCH

/* Leaves the calling function on failure. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum status try_st = (call);                                                               \
        if (try_st != ST_OK) return try_st;                                                        \
    } while (0)

/* ---- building blocks ------------------------------------------------------------------------ */

/* x = rows of token_embd. */
enum status pass_embed(struct pass *p, struct err *e);
/* out = RMSNorm(x) * weight, rows of n_embd. */
enum status pass_rms_norm(struct pass *p, uint32_t weight, struct view x, struct view out,
                          uint32_t rows, struct err *e);
/* out (n_cols, n_out) = l x. */
enum status pass_linear(struct pass *p, const struct linear *l, struct view x, struct view out,
                        uint32_t n_cols, struct err *e);
/* at.q, at.k, at.v = projections of x. */
enum status pass_qkv(struct pass *p, uint32_t layer, struct view x, struct err *e);
/* Rotates at.q and at.k in place. */
enum status pass_rope(struct pass *p, uint32_t layer, struct err *e);
/* Writes at.k, at.v to the cache; at.attn = attention of at.q over it. */
enum status pass_attention(struct pass *p, uint32_t layer, struct err *e);
/* out = down(silu(gate x) * up x). */
enum status pass_ffn_swiglu(struct pass *p, uint32_t layer, struct view x, struct view out,
                            struct err *e);
/* x += y, (n_tokens, n_embd). */
enum status pass_add(struct pass *p, struct view x, struct view y, struct err *e);
/* Norm and logits of the rows that are wanted, into p->logits. */
enum status pass_logits(struct pass *p, struct err *e);

/* Shows values (rows, cols) to the probe and takes what it gives in their place. */
enum status pass_probe(struct pass *p, enum site site, uint32_t layer, struct view at, size_t cols,
                       struct err *e);

#endif
