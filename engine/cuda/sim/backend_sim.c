/* cuda-sim: the CUDA backend's kernels on the processor. A launch runs at once, its blocks spread
 * over a pool of threads; with checks, on the calling thread. Memory is plain host memory.
 *
 * Variants: "check", "mutant-NAME", and those of the kernels. */
#include "engine/cuda/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct backend {
    struct cuda_base cuda;
    const struct sim_build *build;
    struct pool *pool;
    struct sim_worker *workers;
    int n_workers;
    struct sim_checker *checker;
};

static enum status choose_build(const char *variant, const struct sim_build **out, struct err *e)
{
    char name[32] = "fast";
    for (const char *p = variant; p && *p;) {
        size_t len = strcspn(p, "+");
        bool build =
            (len == 5 && memcmp(p, "check", len) == 0) || (len > 7 && memcmp(p, "mutant-", 7) == 0);
        if (build) snprintf(name, sizeof name, "%.*s", (int)len, p);
        p += len + (p[len] == '+');
    }
    *out = sim_build_by_name(name);
    if (*out) return ST_OK;
    return fail(e, ST_NO_DEVICE, "cuda-sim: kernels '%s' are not in this build", name);
}

static void sim_close(struct backend *b)
{
    if (!b) return;
    for (int i = 0; b->workers && i < b->n_workers; i++) sim_worker_close(&b->workers[i]);
    free(b->workers);
    sim_checker_close(b->checker);
    if (b->pool) pool_close(b->pool);
    free(b);
}

static void run_share(void *ctx, size_t begin, size_t end, int thread)
{
    struct backend *b = ctx;
    sim_run_blocks(&b->workers[thread], begin, end);
}

/* The worst kind of fault, of the first block that has it. */
static const char *worst_fault(const struct backend *b)
{
    for (int kind = 0; kind < SIM_FAULTS; kind++) {
        const struct sim_worker *first = NULL;
        for (int i = 0; i < b->n_workers; i++) {
            const struct sim_worker *w = &b->workers[i];
            if (w->faults[kind][0] && (!first || w->fault_block[kind] < first->fault_block[kind]))
                first = w;
        }
        if (first) return first->faults[kind];
    }
    return NULL;
}

static enum status sim_launch(struct backend *b, const struct launch *l, struct err *e)
{
    uint64_t n_blocks = (uint64_t)l->grid_x * l->grid_y;
    sim_kernel *kernel = sim_kernel_of(b->build, l->kernel);
    for (int i = 0; i < b->n_workers; i++) {
        struct sim_worker *w = &b->workers[i];
        w->launch = l;
        w->kernel = kernel;
        for (int kind = 0; kind < SIM_FAULTS; kind++) w->faults[kind][0] = '\0';
    }
    if (b->checker) {
        sim_check_launch(b->checker, &b->workers[0]);
        sim_run_blocks(&b->workers[0], 0, n_blocks);
    } else {
        pool_run(b->pool, n_blocks, 1, run_share, b);
    }
    const char *fault = worst_fault(b);
    return fault ? fail(e, ST_DEVICE, "cuda-sim: %s", fault) : ST_OK;
}

static enum status open_workers(struct backend *b, int n_threads, struct err *e)
{
    TRY(pool_open(&b->pool, b->build->checks ? 1 : n_threads, e));
    b->n_workers = pool_threads(b->pool);
    b->workers = alloc_array((size_t)b->n_workers, sizeof *b->workers);
    if (!b->workers) return fail(e, ST_NOMEM, "cuda-sim: no memory for %d threads", b->n_workers);
    for (int i = 0; i < b->n_workers; i++) TRY(sim_worker_open(&b->workers[i], e));
    if (!b->build->checks) return ST_OK;
    TRY(sim_checker_open(&b->checker, e));
    b->workers[0].checker = b->checker;
    return ST_OK;
}

static enum status sim_open(struct backend **out, const struct backend_options *o, struct err *e)
{
    const char *variant = o ? o->variant : NULL;
    const struct sim_build *build;
    if (o && o->device && strcmp(o->device, "0") != 0)
        return fail(e, ST_NO_DEVICE, "cuda-sim: there is one device, 0, not \"%s\"", o->device);
    TRY(choose_build(variant, &build, e));
    struct backend *b = alloc_array(1, sizeof *b);
    if (!b) return fail(e, ST_NOMEM, "cuda-sim: no memory");
    b->cuda.base.ops = &cuda_sim_backend;
    b->cuda.launch = sim_launch;
    cuda_choose(&b->cuda, variant, true);
    b->build = build;
    enum status st = open_workers(b, o ? o->n_threads : 0, e);
    if (st != ST_OK)
        sim_close(b);
    else
        *out = b;
    return st;
}

static enum status sim_describe(uint32_t i, struct device_info *out, struct err *e)
{
    if (i > 0) return fail(e, ST_NO_DEVICE, "cuda-sim: there is one device");
    memset(out, 0, sizeof *out);
    snprintf(out->subject, sizeof out->subject, "cuda-sim");
    snprintf(out->name, sizeof out->name, "CUDA kernels on this processor");
    snprintf(out->driver, sizeof out->driver, "none: a block's threads are fibers");
    snprintf(out->api, sizeof out->api, "C subset of CUDA");
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    if (pages > 0 && size > 0) out->memory_bytes = (uint64_t)pages * (uint64_t)size;
    out->subgroup_size = WARP;
    snprintf(out->features, sizeof out->features, "access checks: %s",
             sim_build_by_name("check") ? "variant check" : "not in this build");
    return ST_OK;
}

static enum status new_buffer(struct backend *b, struct dbuf **out, void *at, size_t bytes,
                              bool read_only, struct err *e)
{
    struct dbuf *d = alloc_array(1, sizeof *d);
    if (!d) return fail(e, ST_NOMEM, "cuda-sim: no memory");
    d->base = (uint64_t)(uintptr_t)at;
    d->bytes = bytes;
    d->read_only = read_only;
    if (b->checker && !read_only) {
        d->shadow = sim_shadow_open(bytes);
        if (!d->shadow) {
            free(d);
            return fail(e, ST_NOMEM, "cuda-sim: no memory to check %zu bytes", bytes);
        }
    }
    *out = d;
    return ST_OK;
}

static enum status sim_alloc(struct backend *b, size_t bytes, struct dbuf **out, struct err *e)
{
    void *at = malloc(bytes ? bytes : 1);
    if (!at) return fail(e, ST_NOMEM, "cuda-sim: no memory for a buffer of %zu bytes", bytes);
    enum status st = new_buffer(b, out, at, bytes, false, e);
    if (st != ST_OK) free(at);
    return st;
}

static enum status sim_import(struct backend *b, const void *host, size_t bytes, struct dbuf **out,
                              struct err *e)
{
    return new_buffer(b, out, (void *)(uintptr_t)host, bytes, true, e);
}

static void *host_of(const struct dbuf *d)
{
    return (void *)(uintptr_t)d->base;
}

static void sim_release(struct backend *b, struct dbuf *buf)
{
    (void)b;
    if (!buf) return;
    if (!buf->read_only) free(host_of(buf));
    sim_shadow_close(buf->shadow);
    free(buf);
}

static enum status check_span(struct view v, size_t bytes, struct err *e)
{
    if (v.buf && v.off <= v.buf->bytes && bytes <= v.buf->bytes - v.off) return ST_OK;
    return fail(e, ST_RANGE, "cuda-sim: %zu bytes at %zu do not fit a buffer of %zu", bytes, v.off,
                v.buf ? v.buf->bytes : 0);
}

static enum status sim_upload(struct backend *b, struct view dst, const void *src, size_t bytes,
                              struct err *e)
{
    (void)b;
    TRY(check_span(dst, bytes, e));
    if (dst.buf->read_only) return fail(e, ST_USAGE, "cuda-sim: weights are read-only");
    if (bytes) memcpy((uint8_t *)host_of(dst.buf) + dst.off, src, bytes);
    if (dst.buf->shadow) sim_shadow_written(dst.buf->shadow, dst.off, bytes);
    return ST_OK;
}

static enum status sim_download(struct backend *b, void *dst, struct view src, size_t bytes,
                                struct err *e)
{
    (void)b;
    TRY(check_span(src, bytes, e));
    if (bytes) memcpy(dst, (const uint8_t *)host_of(src.buf) + src.off, bytes);
    return ST_OK;
}

static enum status sim_flush(struct backend *b, struct err *e)
{
    (void)b;
    (void)e;
    return ST_OK;
}

const struct backend_ops cuda_sim_backend = {
    .name = "cuda-sim",
    .simulated = true,
    .on_host = true,
    .words = "general check mutant-",
    .open = sim_open,
    .close = sim_close,
    .describe = sim_describe,
    .alloc = sim_alloc,
    .release = sim_release,
    .import = sim_import,
    .upload = sim_upload,
    .download = sim_download,
    .flush = sim_flush,
    .stats = cuda_stats,
#define OP(op, args, types, tol) .op = cuda_op_##op,
#include "spec/ops.def"
#undef OP
};
