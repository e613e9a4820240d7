/* Encoding by type, and rows on several threads. */
#include "reference/encode_priv.h"

#include <pthread.h>

bool ref_encode(enum tensor_type t, const float *x, size_t n, const float *weight, uint8_t *out)
{
    switch (t) {
#define TYPE(e, id, name, c, elems, bytes, use, act)                                               \
    IF_WEIGHT(use)(case TYPE_##e : ref_encode_##c(x, n, weight, out); return true;)
#include "spec/types.def"
#undef TYPE
    default:
        return false;
    }
}

struct rows_job {
    enum tensor_type type;
    const float *x, *weight;
    size_t n_rows, n_cols, row_bytes, batch;
    uint8_t *out;
    void (*progress)(void *ctx, size_t rows);
    void *ctx;
    pthread_mutex_t lock; /* of done, and of the call to progress */
    size_t done;
};

static void encode_batch(void *ctx, size_t i)
{
    struct rows_job *j = ctx;
    size_t begin = i * j->batch;
    size_t end = j->n_rows - begin < j->batch ? j->n_rows : begin + j->batch;
    for (size_t row = begin; row < end; row++) {
        ref_encode(j->type, j->x + row * j->n_cols, j->n_cols, j->weight,
                   j->out + row * j->row_bytes);
    }
    if (!j->progress) return;
    pthread_mutex_lock(&j->lock);
    j->done += end - begin;
    j->progress(j->ctx, j->done);
    pthread_mutex_unlock(&j->lock);
}

bool ref_encode_rows(enum tensor_type t, const float *x, size_t n_rows, size_t n_cols,
                     const float *weight, uint8_t *out, void (*progress)(void *ctx, size_t rows),
                     void *ctx)
{
    const struct type_spec *spec = type_by_id((int64_t)t);
    if (!spec || spec->use != USE_W || n_cols % spec->block_elems != 0) return false;
    if (n_rows == 0 || n_cols == 0) return true;
    struct rows_job j = {.type = t,
                         .x = x,
                         .weight = weight,
                         .n_rows = n_rows,
                         .n_cols = n_cols,
                         .row_bytes = type_bytes(spec, n_cols),
                         .out = out,
                         .progress = progress,
                         .ctx = ctx};
    /* Enough values per batch that handing it out costs nothing in comparison. */
    j.batch = n_cols < 4096 ? 4096 / n_cols : 1;
    pthread_mutex_init(&j.lock, NULL);
    ref_parallel((n_rows + j.batch - 1) / j.batch, encode_batch, &j);
    pthread_mutex_destroy(&j.lock);
    return true;
}
