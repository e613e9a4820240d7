/* Which type each tensor of a model gets: the same one everywhere, or one of llama.cpp's mixes. */
#ifndef MIX_H
#define MIX_H

#include "engine/gguf/gguf.h"

struct mix {
    const char *name; /* "q4_K", "Q4_K_M" */
    enum tensor_type base;
    bool pure;     /* every matrix gets base */
    int file_type; /* general.file_type */
    uint32_t n_layers, n_heads, n_kv_heads, n_experts;
    bool has_output; /* else the token embedding is the output matrix too */
};

/* A name in any case: that of a weight type is that type everywhere ("Q2_K", "Q6_K" and "Q8_0"
 * too), others are mixes; "mix:Q2_K" always is the mix. ST_USAGE lists what is known. The result
 * suits no model before mix_fit. */
enum status mix_find(struct mix *out, const char *name, struct err *e);

/* What the choice depends on, from a model's metadata. ST_UNSUPPORTED if a mix has rules for this
 * kind of model that are not known here. */
enum status mix_fit(struct mix *m, const struct gguf *g, struct err *e);

/* The type that a tensor gets; its own if it is none to be encoded: vectors, norms, routers,
 * types without a decoder. Rows that do not fill blocks get llama.cpp's substitute. */
enum tensor_type mix_type(const struct mix *m, const char *name, uint32_t n_dims, uint64_t row,
                          enum tensor_type from);

#endif
