/* Trace files: values at the sites of one sequence as a GGUF of f32 tensors, written by Assay or
 * by anything. Names and keys: suites/locate/README.md. */
#ifndef TRACEFILE_H
#define TRACEFILE_H

#include "engine/gguf/gguf.h"
#include "trace/record.h"
#include "trace/site.h"

/* What a trace says of itself, apart from values. */
struct trace_info {
    int32_t *tokens;            /* (n_tokens) malloc'd, or NULL */
    size_t n_tokens;            /* the most rows of any tensor if tokens is NULL */
    struct precision precision; /* declared; exact if nothing is */
    bool declared;              /* the file says how the engine rounds activations */
    char subject[128];
};

/* Site and layer that a tensor's name stands for, of a plain model: ours ("q-3", "embd") or
 * llama.cpp's ("Qcur-3", "inp_embd"), where Qcur and Kcur with three dimensions stand for values
 * after RoPE. False: no site. */
bool trace_name(const char *name, size_t len, uint32_t n_dims, enum site *site, uint32_t *layer);

/* True if a container holds at least one tensor of such a name and no weights. */
bool trace_is(const struct gguf *g);

/* Sizes that a trace does not hold. Scores in llama.cpp's form (three dimensions: cells, tokens,
 * heads) come without scale and mask: they get both. */
struct trace_shape {
    uint32_t n_layers, n_heads;
    double kq_scale;
    const struct site_model *model; /* that names are understood for; NULL: a plain one */
};

/* Reads a trace into a recording of a subject's values. Values of any decodable type are taken.
 * Errors name the tensor. */
enum status trace_read(struct recording *out, struct trace_info *info, const struct gguf *g,
                       const struct trace_shape *shape, struct err *e);
/* Fills info only. */
enum status trace_read_info(struct trace_info *info, const struct gguf *g, struct err *e);
void trace_info_free(struct trace_info *info);

/* Writes the sites of a recording of a subject (those for which want is true; NULL = all). */
enum status trace_write(const struct recording *r, const struct trace_info *info, const char *path,
                        bool (*want)(void *ctx, enum site site, uint32_t layer), void *ctx,
                        struct err *e);

/* "f32", "f16", "q8" (as types.def says for each weight type), "none": how products round their
 * other operand. */
bool precision_by_name(const char *name, struct precision *p);
const char *precision_name(const struct precision *p);

#endif
