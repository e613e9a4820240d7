/* The CUDA backend: one device, one stream of its own, buffers on the device. Operations come from
 * ops.c and go through queue.c. After a failure of the device nothing more is tried: its context
 * may be unusable.
 *
 * Environment: ASSAY_CUDA_DEVICE (index), ASSAY_CUDA_SYNC=1 (wait for every launch). */
#include "engine/cuda/driver.h"
#include "engine/cuda/fatbin.h"
#include "engine/cuda/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FATBINS = 32 };

struct backend {
    struct cuda_base cuda;
    struct driver driver;
    int device;
    bool retained;
    cu_context context;
    cu_stream stream;
    cu_module modules[MAX_FATBINS];
    cu_function functions[KERNEL_COUNT];
    struct queue queue;
    struct err broken; /* the device's first failure */
};

/* Every entry of the op table and of memory comes through here first. */
static enum status enter(struct backend *b, struct err *e)
{
    if (b->broken.st != ST_OK) return fail(e, b->broken.st, "%s (earlier)", b->broken.text);
    return CU(&b->driver, context_use, (b->context));
}

/* Remembers a failure of the device; returns st. */
static enum status leave(struct backend *b, enum status st, const struct err *e)
{
    if (st == ST_DEVICE && b->broken.st == ST_OK)
        fail(&b->broken, st, "%s", e ? e->text : "cuda: the device failed");
    return st;
}

/* ---- opening -------------------------------------------------------------------------------- */

static void cuda_close(struct backend *b)
{
    if (!b) return;
    const struct driver *d = &b->driver;
    if (b->context) {
        d->context_use(b->context);
        if (b->stream) d->stream_wait(b->stream);
        queue_close(&b->queue);
        if (b->stream) d->stream_destroy(b->stream);
        for (size_t i = 0; i < MAX_FATBINS; i++)
            if (b->modules[i]) d->module_unload(b->modules[i]);
        d->context_use(NULL);
    }
    if (b->retained) d->context_release(b->device);
    driver_close(&b->driver);
    free(b);
}

static enum status load_kernels(struct backend *b, struct err *e)
{
    const struct driver *d = &b->driver;
    for (size_t i = 0; cuda_fatbins[i].file; i++) {
        const struct fatbin *f = &cuda_fatbins[i];
        char where[200];
        snprintf(where, sizeof where, "%s of %s, driver %d.%d", f->file, cuda_archs,
                 d->version / 1000, d->version % 1000 / 10);
        TRY(CU_AT(d, where, module_load, (&b->modules[i], f->image)));
        for (int k = 0; k < KERNEL_COUNT; k++) {
            const struct kernel_info *info = &kernel_table[k];
            if (strcmp(info->file, f->file) != 0) continue;
            TRY(CU_AT(d, info->name, module_function,
                      (&b->functions[k], b->modules[i], info->name)));
        }
    }
    return ST_OK;
}

/* The index of the device that is asked for. */
static enum status choose_device(const struct driver *d, const char *name, int *out, struct err *e)
{
    int count = 0;
    if (!name) name = getenv("ASSAY_CUDA_DEVICE");
    TRY(CU(d, device_count, (&count)));
    if (count == 0) return fail(e, ST_NO_DEVICE, "cuda: the driver knows no device");
    char *end = NULL;
    long i = name && *name ? strtol(name, &end, 10) : 0;
    if (end && *end) return fail(e, ST_USAGE, "cuda: \"%s\" is no device index", name);
    if (i < 0 || i >= count)
        return fail(e, ST_NO_DEVICE, "cuda: there is no device %ld, there are %d", i, count);
    *out = (int)i;
    return ST_OK;
}

static enum status launch_cuda(struct backend *b, const struct launch *l, struct err *e)
{
    TRY(enter(b, e));
    return leave(b, queue_add(&b->queue, l, e), e);
}

static enum status open_device(struct backend *b, const struct backend_options *o, struct err *e)
{
    const struct driver *d = &b->driver;
    const char *each = getenv("ASSAY_CUDA_SYNC");
    const char *variant = o ? o->variant : NULL;
    int ordinal = 0, major = 0;
    TRY(driver_open(&b->driver, e));
    TRY(choose_device(d, o ? o->device : NULL, &ordinal, e));
    TRY(CU(d, device_get, (&b->device, ordinal)));
    TRY(CU(d, device_attribute, (&major, CU_ATTRIBUTE_MAJOR, b->device)));
    TRY(CU(d, context_retain, (&b->context, b->device)));
    b->retained = true;
    TRY(CU(d, context_use, (b->context)));
    TRY(CU(d, stream_create, (&b->stream, CU_NON_BLOCKING)));
    queue_open(&b->queue, d, b->stream, b->functions, each && strcmp(each, "1") == 0);
    cuda_choose(&b->cuda, variant, major >= 8);
    return load_kernels(b, e);
}

static enum status cuda_open(struct backend **out, const struct backend_options *o, struct err *e)
{
    struct backend *b = alloc_array(1, sizeof *b);
    if (!b) return fail(e, ST_NOMEM, "cuda: no memory");
    b->cuda.base.ops = &cuda_backend;
    b->cuda.launch = launch_cuda;
    enum status st = open_device(b, o, e);
    if (st != ST_OK)
        cuda_close(b);
    else
        *out = b;
    return st;
}

static enum status describe(const struct driver *d, int i, struct device_info *out, struct err *e)
{
    int device, major = 0, minor = 0, processors = 0;
    size_t bytes = 0;
    TRY(CU(d, device_get, (&device, i)));
    TRY(CU(d, device_name, (out->name, (int)sizeof out->name, device)));
    TRY(CU(d, device_memory, (&bytes, device)));
    TRY(CU(d, device_attribute, (&major, CU_ATTRIBUTE_MAJOR, device)));
    TRY(CU(d, device_attribute, (&minor, CU_ATTRIBUTE_MINOR, device)));
    TRY(CU(d, device_attribute, (&processors, CU_ATTRIBUTE_PROCESSORS, device)));
    snprintf(out->subject, sizeof out->subject, "cuda:%d", i);
    snprintf(out->driver, sizeof out->driver, "CUDA driver %d.%d", d->version / 1000,
             d->version % 1000 / 10);
    snprintf(out->api, sizeof out->api, "compute capability %d.%d", major, minor);
    snprintf(out->features, sizeof out->features, "%d multiprocessors; TF32 tensor cores: %s",
             processors, major >= 8 ? "yes" : "no");
    out->memory_bytes = bytes;
    out->subgroup_size = WARP;
    return ST_OK;
}

static enum status cuda_describe(uint32_t i, struct device_info *out, struct err *e)
{
    struct driver d;
    int count = 0;
    memset(out, 0, sizeof *out);
    TRY(driver_open(&d, e));
    enum status st = CU(&d, device_count, (&count));
    if (st == ST_OK && i >= (uint32_t)count)
        st = fail(e, ST_NO_DEVICE, "cuda: the driver knows %d devices", count);
    if (st == ST_OK) st = describe(&d, (int)i, out, e);
    driver_close(&d);
    return st;
}

/* ---- memory --------------------------------------------------------------------------------- */

static enum status cuda_alloc(struct backend *b, size_t bytes, struct dbuf **out, struct err *e)
{
    TRY(enter(b, e));
    struct dbuf *d = alloc_array(1, sizeof *d);
    if (!d) return fail(e, ST_NOMEM, "cuda: no memory");
    char where[64];
    snprintf(where, sizeof where, "%zu bytes", bytes);
    cu_address address = 0;
    enum status st = CU_AT(&b->driver, where, alloc, (&address, bytes ? bytes : 1));
    if (st != ST_OK) {
        free(d);
        return leave(b, st, e);
    }
    d->base = address;
    d->bytes = bytes;
    *out = d;
    return ST_OK;
}

/* Queued work may still use the memory: it is finished first. Freed even if the device has
 * failed. */
static void cuda_release(struct backend *b, struct dbuf *buf)
{
    struct err ignored = {0};
    if (!buf) return;
    if (enter(b, &ignored) == ST_OK) leave(b, queue_wait(&b->queue, &ignored), &ignored);
    b->driver.context_use(b->context);
    b->driver.free(buf->base);
    free(buf);
}

static enum status check_span(struct view v, size_t bytes, struct err *e)
{
    if (v.buf && v.off <= v.buf->bytes && bytes <= v.buf->bytes - v.off) return ST_OK;
    return fail(e, ST_RANGE, "cuda: %zu bytes at %zu do not fit a buffer of %zu", bytes, v.off,
                v.buf ? v.buf->bytes : 0);
}

static enum status cuda_upload(struct backend *b, struct view dst, const void *src, size_t bytes,
                               struct err *e)
{
    TRY(enter(b, e));
    TRY(check_span(dst, bytes, e));
    if (dst.buf->read_only) return fail(e, ST_USAGE, "cuda: weights are read-only");
    if (bytes == 0) return ST_OK;
    enum status st = queue_submit(&b->queue, e);
    if (st == ST_OK) st = CU(&b->driver, upload, (dst.buf->base + dst.off, src, bytes, b->stream));
    /* The driver may still be reading src, which is the caller's again after this. */
    if (st == ST_OK) st = queue_wait(&b->queue, e);
    return leave(b, st, e);
}

static enum status cuda_import(struct backend *b, const void *host, size_t bytes, struct dbuf **out,
                               struct err *e)
{
    struct dbuf *d = NULL;
    TRY(cuda_alloc(b, bytes, &d, e));
    enum status st = cuda_upload(b, (struct view){d, 0}, host, bytes, e);
    if (st != ST_OK) {
        cuda_release(b, d);
        return st;
    }
    d->read_only = true;
    *out = d;
    return ST_OK;
}

static enum status cuda_flush(struct backend *b, struct err *e)
{
    TRY(enter(b, e));
    return leave(b, queue_wait(&b->queue, e), e);
}

static enum status cuda_download(struct backend *b, void *dst, struct view src, size_t bytes,
                                 struct err *e)
{
    TRY(enter(b, e));
    TRY(check_span(src, bytes, e));
    enum status st = queue_submit(&b->queue, e);
    if (st == ST_OK && bytes)
        st = CU(&b->driver, download, (dst, src.buf->base + src.off, bytes, b->stream));
    if (st == ST_OK) st = queue_wait(&b->queue, e);
    return leave(b, st, e);
}

const struct backend_ops cuda_backend = {
    .name = "cuda",
    .words = "general",
    .open = cuda_open,
    .close = cuda_close,
    .describe = cuda_describe,
    .alloc = cuda_alloc,
    .release = cuda_release,
    .import = cuda_import,
    .upload = cuda_upload,
    .download = cuda_download,
    .flush = cuda_flush,
    .stats = cuda_stats,
#define OP(op, args, types, tol) .op = cuda_op_##op,
#include "spec/ops.def"
#undef OP
};
