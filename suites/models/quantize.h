/* Encoding a whole model into another type; used by `assay quantize` and `assay qualify`. */
#ifndef QUANTIZE_H
#define QUANTIZE_H

#include "engine/gguf/gguf.h"

/* What became of one tensor. nmse and worst (absolute) are against its values as read; 0 where the
 * bytes are copied. */
struct quantize_tensor {
    const char *name;
    enum tensor_type from, to;
    uint64_t n_elems;
    size_t bytes;
    double nmse, worst;
};

struct quantize_options {
    int threads;       /* as ref_set_threads */
    const char *label; /* for the progress bar; NULL = no bar */
    /* Called after each tensor, in the order of the file; may be NULL. */
    void (*tensor)(void *ctx, const struct quantize_tensor *t);
    void *ctx;
};

/* Writes `in` (opened with its data) to out_path with its matrices encoded as mix.h says for the
 * name; gzip-compressed if the path ends in ".gz". Metadata is kept, except that file type and
 * quantization version are set and the keys of split files go. The file appears only when
 * complete; interrupt_caught() ends the work with ST_CANCELLED. A value that is not finite is
 * ST_FORMAT. Not for several threads at once: it sets the reference's thread count. */
enum status quantize_model(const struct gguf *in, const char *type_or_mix, const char *out_path,
                           const struct quantize_options *o, struct err *e);

#endif
