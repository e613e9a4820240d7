/* The weights of a session: what the file holds, put on the backend. */
#include "engine/session/session.h"

#include <stdlib.h>
#include <string.h>

const void *session_aligned_data(struct engine_session *s, const struct model_tensor *t)
{
    if ((uintptr_t)t->data % sizeof(float) == 0) return t->data;
    void *copy = arena_alloc(&s->arena, t->bytes, 1);
    if (copy) memcpy(copy, t->data, t->bytes);
    return copy;
}

/* Norms and biases of other types become f32 on the device, by the decoder that serves lookups. */
static enum status vector_to_f32(struct engine_session *s, const struct model_tensor *t,
                                 struct dbuf **buf, struct err *e)
{
    struct pass *p = &s->pass;
    struct dbuf *f32 = NULL, *ids = NULL;
    int32_t *rows = alloc_array(t->n_out, sizeof *rows);
    enum status st = rows ? ST_OK : fail(e, ST_NOMEM, "out of memory for %u rows", t->n_out);
    for (uint32_t i = 0; rows && i < t->n_out; i++) rows[i] = (int32_t)i;
    if (st == ST_OK) st = p->ops->alloc(p->be, (size_t)t->n_in * t->n_out * sizeof(float), &f32, e);
    if (st == ST_OK) st = p->ops->alloc(p->be, t->n_out * sizeof *rows, &ids, e);
    if (st == ST_OK)
        st = p->ops->upload(p->be, (struct view){ids, 0}, rows, t->n_out * sizeof *rows, e);
    if (st == ST_OK)
        st = RUN(p, get_rows,
                 (&(struct op_get_rows){.w = {{*buf, 0}, t->type->id, t->n_in, t->n_out},
                                        .ids = {ids, 0},
                                        .out = {f32, 0},
                                        .n = t->n_out}),
                 e);
    if (st == ST_OK) st = p->ops->flush(p->be, e);
    p->ops->release(p->be, ids);
    p->ops->release(p->be, *buf);
    free(rows);
    *buf = f32;
    return st;
}

/* Matrices that the file has one by one, put together on the device. */
static enum status import_parts(struct engine_session *s, const struct model_tensor *t,
                                struct dbuf **out, struct err *e)
{
    const struct pass *p = &s->pass;
    const size_t each = t->bytes / t->n_mats;
    if (each % sizeof(float) != 0)
        return fail(e, ST_UNSUPPORTED, "matrices of %zu bytes cannot be put together", each);
    enum status st = p->ops->alloc(p->be, t->bytes, out, e);
    for (uint32_t i = 0; i < t->n_mats && st == ST_OK; i++)
        st = p->ops->upload(p->be, (struct view){*out, i * each}, t->parts[i], each, e);
    return st;
}

static enum status import_tensor(struct engine_session *s, const struct model_tensor *t,
                                 struct dbuf **out, struct err *e)
{
    const struct pass *p = &s->pass;
    if (t->parts) return import_parts(s, t, out, e);
    const void *data = session_aligned_data(s, t);
    if (!data) return fail(e, ST_NOMEM, "out of memory for a copy");
    TRY(p->ops->import(p->be, data, t->bytes, out, e));
    return t->use == TENSOR_VECTOR && t->type->id != TYPE_F32 ? vector_to_f32(s, t, out, e) : ST_OK;
}

enum status session_import_weights(struct engine_session *s, const struct engine_session_options *o,
                                   struct err *e)
{
    const struct engine_model *m = s->model;
    struct pass *p = &s->pass;
    size_t total = 0, done = 0;
    p->weights = arena_alloc(&s->arena, m->n_tensors, sizeof *p->weights);
    if (!p->weights) return fail(e, ST_NOMEM, "out of memory for %u tensors", m->n_tensors);
    for (uint32_t i = 1; i < m->n_tensors; i++)
        if (m->tensors[i].use != TENSOR_HOST) total += m->tensors[i].bytes;
    for (uint32_t i = 1; i < m->n_tensors; i++) {
        const struct model_tensor *t = &m->tensors[i];
        if (t->use == TENSOR_HOST) continue;
        enum status st = import_tensor(s, t, &p->weights[i], e);
        if (st != ST_OK) return fail_prefix(e, "tensor %s", t->name);
        done += t->bytes;
        if (o->progress) o->progress(o->progress_ctx, done, total);
    }
    return ST_OK;
}
