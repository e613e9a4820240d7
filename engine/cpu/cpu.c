/* The CPU backend: opening, memory, and its table. Operations run at once, split over a pool of
 * threads by rows of the output, heads or tokens: no result depends on the number of threads. */
#include "engine/cpu/cpu.h"
#include "engine/cpu/simd.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void cpu_close(struct backend *b)
{
    if (!b) return;
    struct cpu *c = cpu_of(b);
    pool_close(c->pool);
    free(c->scratch);
    free(c->list);
    free(c);
}

extern const struct backend_ops cpu_backend;

static enum status cpu_open(struct backend **out, const struct backend_options *o, struct err *e)
{
    static const struct backend_options defaults;
    *out = NULL;
    if (!o) o = &defaults;
    if (o->device && strcmp(o->device, "0") != 0) {
        return fail(e, ST_NO_DEVICE, "cpu: device %s does not exist, only 0", o->device);
    }
    struct cpu *c = alloc_array(1, sizeof *c);
    if (!c) return fail(e, ST_NOMEM, "cpu: out of memory");
    c->base.ops = &cpu_backend;
    c->panels_only = o->variant != NULL;
    enum status st = pool_open(&c->pool, o->n_threads, e);
    if (st == ST_OK) st = cpu_scratch(c, 1 << 15, e);
    if (st == ST_OK) st = cpu_list(c, 1 << 12, e);
    struct backend *b = (struct backend *)(void *)c;
    if (st == ST_OK) {
        *out = b;
    } else {
        cpu_close(b);
    }
    return st;
}

/* "model name" of the first processor, or what is known without /proc. */
static void processor_name(char *out, size_t cap)
{
    snprintf(out, cap, "unknown processor");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f) return;
    char line[512];
    while (fgets(line, sizeof line, f)) {
        char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !value) continue;
        value += 1 + strspn(value + 1, " \t");
        value[strcspn(value, "\n")] = '\0';
        snprintf(out, cap, "%s", value);
        break;
    }
    fclose(f);
}

static enum status cpu_describe(uint32_t i, struct device_info *out, struct err *e)
{
    if (i > 0) return fail(e, ST_NO_DEVICE, "cpu: one device only");
    *out = (struct device_info){.subject = "cpu", .api = "C17", .subgroup_size = LANES};
    processor_name(out->name, sizeof out->name);
    long cores = sysconf(_SC_NPROCESSORS_ONLN), pages = sysconf(_SC_PHYS_PAGES),
         page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0) out->memory_bytes = (uint64_t)pages * (uint64_t)page;
#ifdef __clang__
    snprintf(out->driver, sizeof out->driver, "clang %s", __clang_version__);
#else
    snprintf(out->driver, sizeof out->driver, "gcc %s", __VERSION__);
#endif
    snprintf(out->features, sizeof out->features, "%ld cores, %d lanes: %s", cores, (int)LANES,
             CPU_SIMD_NAME);
    return ST_OK;
}

static enum status new_buffer(struct dbuf **out, uint8_t *data, size_t bytes, bool owned,
                              struct err *e)
{
    struct dbuf *d = alloc_array(1, sizeof *d);
    if (!d) {
        if (owned) free(data);
        return fail(e, ST_NOMEM, "cpu: out of memory");
    }
    *d = (struct dbuf){data, bytes, owned};
    *out = d;
    return ST_OK;
}

static enum status cpu_alloc(struct backend *b, size_t bytes, struct dbuf **out, struct err *e)
{
    (void)b;
    *out = NULL;
    size_t padded;
    uint8_t *data = NULL;
    if (add_size(bytes, 64, &padded)) data = aligned_alloc(64, padded / 64 * 64);
    if (!data) return fail(e, ST_NOMEM, "cpu: no memory for a buffer of %zu bytes", bytes);
    return new_buffer(out, data, bytes, true, e);
}

static enum status cpu_import(struct backend *b, const void *host, size_t bytes, struct dbuf **out,
                              struct err *e)
{
    (void)b;
    *out = NULL;
    /* Never written: only weights are imported, and no operation writes to a weight. */
    return new_buffer(out, (uint8_t *)(uintptr_t)host, bytes, false, e);
}

static void cpu_release(struct backend *b, struct dbuf *buf)
{
    (void)b;
    if (!buf) return;
    if (buf->owned) free(buf->data);
    free(buf);
}

static enum status cpu_upload(struct backend *b, struct view dst, const void *src, size_t bytes,
                              struct err *e)
{
    (void)b;
    (void)e;
    if (bytes > 0) memcpy(cpu_at(dst, bytes), src, bytes);
    return ST_OK;
}

static enum status cpu_download(struct backend *b, void *dst, struct view src, size_t bytes,
                                struct err *e)
{
    (void)b;
    (void)e;
    if (bytes > 0) memcpy(dst, cpu_at(src, bytes), bytes);
    return ST_OK;
}

static enum status cpu_flush(struct backend *b, struct err *e)
{
    (void)b;
    (void)e;
    return ST_OK;
}

static void cpu_stats(struct backend *b, struct backend_stats *out)
{
    const struct cpu *c = cpu_of(b);
    *out = (struct backend_stats){.dispatches = c->dispatches};
    if (!c->last_op) return;
    snprintf(out->variant, sizeof out->variant, "%s%s%s%s%s", c->last_op, c->last_type ? "_" : "",
             c->last_type ? c->last_type : "", c->last_way ? "_" : "",
             c->last_way ? c->last_way : "");
}

uint8_t *cpu_at(struct view v, size_t bytes)
{
    assert(v.buf && v.off <= v.buf->bytes && bytes <= v.buf->bytes - v.off);
    (void)bytes;
    return v.buf->data + v.off;
}

enum status cpu_scratch(struct cpu *c, size_t n, struct err *e)
{
    if (n <= c->scratch_floats) return ST_OK;
    size_t each, total, threads = (size_t)pool_threads(c->pool);
    float *fresh = NULL;
    if (add_size(n, LANES - n % LANES, &each) && mul_size(each, threads, &total)) {
        fresh = alloc_array(total, sizeof *fresh);
    }
    if (!fresh) return fail(e, ST_NOMEM, "cpu: no memory for %zu floats of scratch", n);
    free(c->scratch);
    c->scratch = fresh;
    c->scratch_floats = each;
    return ST_OK;
}

enum status cpu_list(struct cpu *c, size_t bytes, struct err *e)
{
    if (bytes <= c->list_bytes) return ST_OK;
    void *fresh = alloc_array(bytes, 1);
    if (!fresh) return fail(e, ST_NOMEM, "cpu: no memory for a list of %zu bytes", bytes);
    free(c->list);
    c->list = fresh;
    c->list_bytes = bytes;
    return ST_OK;
}

void cpu_count(struct cpu *c, const char *op, const char *type, const char *way)
{
    c->dispatches++;
    c->last_op = op;
    c->last_type = type;
    c->last_way = way;
}

const struct backend_ops cpu_backend = {
    .name = "cpu",
    .on_host = true,
    .words = "panels",
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .import = cpu_import,
    .upload = cpu_upload,
    .download = cpu_download,
    .flush = cpu_flush,
    .stats = cpu_stats,
#define OP(name, args, types, tol) .name = cpu_##name,
#include "spec/ops.def"
#undef OP
};
