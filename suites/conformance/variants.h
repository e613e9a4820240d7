/* Models that are a golden one with something changed: what other files of its architecture
 * have. */
#ifndef VARIANTS_H
#define VARIANTS_H

#include "engine/gguf/gguf.h"
#include "harness/harness.h"

/* Tensors that are laid out in another way. */
enum layout {
    LAYOUT_KEPT,
    LAYOUT_FUSED_QKV,     /* attn_q, attn_k, attn_v -> attn_qkv */
    LAYOUT_SPLIT_QKV,     /* and back: rows[0] for queries, rows[1] for keys and for values */
    LAYOUT_FUSED_EXPERTS, /* ffn_gate_exps, ffn_up_exps -> ffn_gate_up_exps */
    LAYOUT_SPLIT_EXPERTS, /* ffn_up_exps -> ffn_up.0, ffn_up.1, ... */
};

/* A key without its architecture; text NULL and n 0: a number. */
struct variant_key {
    const char *key;
    enum { VARIANT_DROP, VARIANT_U32, VARIANT_F32, VARIANT_BOOL, VARIANT_TEXT, VARIANT_I32S } kind;
    double number;
    const char *text;
    int32_t values[8];
    size_t n;
};

/* A tensor of every layer ("%d" in the name) or of the model, of values around `centre`. */
struct variant_tensor {
    const char *name;
    uint32_t n0, n1; /* n1 0: a vector */
    float centre, spread;
};

enum { VARIANT_KEYS = 6, VARIANT_TENSORS = 4 };

struct variant {
    const char *name, *base; /* base: a file of vectors/forward */
    struct variant_key keys[VARIANT_KEYS];
    struct variant_tensor tensors[VARIANT_TENSORS];
    const char *drop; /* tensors whose names, without "blk.N.", begin with this */
    const char *arch; /* another architecture, its keys with it; NULL: the base's */
    enum layout layout;
    uint32_t rows[2];
    bool same; /* it computes what the base computes */
};

/* Writes the variant of g to path. */
enum status variant_write(struct test *t, const struct variant *v, const struct gguf *g,
                          const char *path, struct err *e);

#endif
