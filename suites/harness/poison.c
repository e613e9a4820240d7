/* Memory that starts as NaN; see poison.h. */
#include "harness/poison.h"
#include "judge/compare.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_BUFFERS = 512 };

struct poison {
    struct backend_base base;
    struct backend_ops ops; /* the real ones, with some slots replaced */
    struct backend *real;
    const struct backend_ops *real_ops;
    struct poisoned {
        struct dbuf *buf;
        size_t bytes, row_bytes; /* row_bytes: of a cell, 0 if no cache */
    } buffers[MAX_BUFFERS];
    size_t n;
};

static struct poison *poison_of(struct backend *b)
{
    return (struct poison *)(void *)b;
}

#define OP(name, args, types, tol)                                                                 \
    static enum status pass_##name(struct backend *b, const struct op_##args *a, struct err *e)    \
    {                                                                                              \
        struct poison *p = poison_of(b);                                                           \
        return p->real_ops->name(p->real, a, e);                                                   \
    }
#include "spec/ops.def"
#undef OP

static enum status pass_import(struct backend *b, const void *host, size_t bytes, struct dbuf **out,
                               struct err *e)
{
    struct poison *p = poison_of(b);
    return p->real_ops->import(p->real, host, bytes, out, e);
}

static enum status pass_upload(struct backend *b, struct view dst, const void *src, size_t bytes,
                               struct err *e)
{
    struct poison *p = poison_of(b);
    return p->real_ops->upload(p->real, dst, src, bytes, e);
}

static enum status pass_download(struct backend *b, void *dst, struct view src, size_t bytes,
                                 struct err *e)
{
    struct poison *p = poison_of(b);
    return p->real_ops->download(p->real, dst, src, bytes, e);
}

static enum status pass_flush(struct backend *b, struct err *e)
{
    struct poison *p = poison_of(b);
    return p->real_ops->flush(p->real, e);
}

static void pass_stats(struct backend *b, struct backend_stats *out)
{
    struct poison *p = poison_of(b);
    p->real_ops->stats(p->real, out);
}

/* In every place of a cache of any type a NaN, or a block whose scale is one. */
static const uint32_t CACHE_POISON = 0xffffffff;

/* Fills a part of a buffer. */
static enum status fill(struct poison *p, struct dbuf *buf, size_t from, size_t to, uint32_t with,
                        struct err *e)
{
    if (from >= to) return ST_OK;
    size_t n = (to - from + 3) / 4;
    uint32_t *image = alloc_array(n, sizeof *image);
    if (!image) return fail(e, ST_NOMEM, "no memory for %zu bytes of poison", to - from);
    for (size_t i = 0; i < n; i++) image[i] = with;
    enum status st = p->real_ops->upload(p->real, (struct view){buf, from}, image, to - from, e);
    free(image);
    return st;
}

static enum status alloc_poisoned(struct backend *b, size_t bytes, struct dbuf **out, struct err *e)
{
    struct poison *p = poison_of(b);
    if (p->n == MAX_BUFFERS) return fail(e, ST_USAGE, "more than %d buffers", MAX_BUFFERS);
    enum status st = p->real_ops->alloc(p->real, bytes, out, e);
    if (st == ST_OK) p->buffers[p->n++] = (struct poisoned){.buf = *out, .bytes = bytes};
    return st == ST_OK ? fill(p, *out, 0, bytes, COMPARE_POISON, e) : st;
}

static void release_poisoned(struct backend *b, struct dbuf *buf)
{
    struct poison *p = poison_of(b);
    for (size_t i = 0; i < p->n; i++)
        if (p->buffers[i].buf == buf) p->buffers[i--] = p->buffers[--p->n];
    p->real_ops->release(p->real, buf);
}

/* Learns which buffers are caches. */
static enum status watch_kv_write(struct backend *b, const struct op_kv_write *a, struct err *e)
{
    struct poison *p = poison_of(b);
    for (size_t i = 0; i < p->n; i++)
        if (p->buffers[i].buf == a->cache.buf)
            p->buffers[i].row_bytes = type_bytes(type_by_id(a->type), a->row);
    return pass_kv_write(b, a, e);
}

enum status poison_open(struct backend **out, struct backend *real, struct err *e)
{
    struct poison *p = alloc_array(1, sizeof *p);
    *out = NULL;
    if (!p) return fail(e, ST_NOMEM, "no memory for a backend");
    p->real = real;
    p->real_ops = backend_ops_of(real);
    p->ops = *p->real_ops;
    p->base.ops = &p->ops;
    p->ops.alloc = alloc_poisoned;
    p->ops.release = release_poisoned;
    p->ops.import = pass_import;
    p->ops.upload = pass_upload;
    p->ops.download = pass_download;
    p->ops.flush = pass_flush;
    if (p->ops.stats) p->ops.stats = pass_stats;
#define OP(name, args, types, tol)                                                                 \
    if (p->ops.name) p->ops.name = pass_##name;
#include "spec/ops.def"
#undef OP
    if (p->ops.kv_write) p->ops.kv_write = watch_kv_write;
    *out = (struct backend *)(void *)p;
    return ST_OK;
}

void poison_close(struct backend *b)
{
    free(b);
}

enum status poison_cells(struct backend *b, uint32_t first, size_t *n, struct err *e)
{
    struct poison *p = poison_of(b);
    *n = 0;
    for (size_t i = 0; i < p->n; i++) {
        struct poisoned *c = &p->buffers[i];
        if (!c->row_bytes) continue;
        ++*n;
        enum status st = fill(p, c->buf, first * c->row_bytes, c->bytes, CACHE_POISON, e);
        if (st != ST_OK) return st;
    }
    return ST_OK;
}
