/* A session as its parts see it: opening (session_open.c), weights (session_weights.c), scratch
 * (session_scratch.c), evaluation (session.c). */
#ifndef SESSION_H
#define SESSION_H

#include "engine/pass/pass.h"

struct engine_session {
    struct engine_model *model;
    struct arena arena;
    struct kv_cache kv;
    struct rope_table rope[KV_KINDS];
    struct pass pass;
    struct dbuf **buffers; /* of scratch, for release */
    uint32_t n_buffers;
    struct kv_places places; /* (n_batch) each, host */
    float *angles;           /* (n_batch, n_dims/2, 2), host */
    float *temperature;      /* (n_batch), host */
    int32_t *rows;           /* (n_batch), host: of a batch, whose logits are kept */
    uint32_t *start, *adds;  /* (n_seqs): where sequences stood before a call, what it adds */
    float *logits;           /* (cap_logits, n_vocab), host */
    size_t cap_logits, n_logits;
};

enum { SESSION_BUFFERS = 64 };

/* The device reads f32 in place: a tensor that the file does not align is copied. NULL: no
 * memory. */
const void *session_aligned_data(struct engine_session *s, const struct model_tensor *t);
/* Puts all tensors on the backend. */
enum status session_import_weights(struct engine_session *s, const struct engine_session_options *o,
                                   struct err *e);
/* Memory of a batch, on the host and on the backend. The stores of the cache have their sizes. */
enum status session_alloc_scratch(struct engine_session *s, struct err *e);

#endif
