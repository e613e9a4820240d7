/* The operations but attention: which kernel, which buffers, how many workgroups. */
#include "vk.h"

#include <stdio.h>

enum status vk_bind(struct backend *b, struct dispatch *d, uint32_t slot, struct view at,
                    uint64_t bytes, bool write, struct err *e)
{
    const VkPhysicalDeviceLimits *l = &b->caps.props.limits;
    uint64_t offset = at.off & ~(l->minStorageBufferOffsetAlignment - 1);
    uint64_t size = at.off - offset + (bytes + 3) / 4 * 4;
    if (at.buf->n_segments != 1 || at.off + bytes > at.buf->segments.bytes)
        return fail(e, ST_RANGE, "%llu bytes at %zu of a buffer of %llu", (unsigned long long)bytes,
                    at.off, (unsigned long long)at.buf->segments.bytes);
    if (size > l->maxStorageBufferRange)
        return fail(e, ST_UNSUPPORTED, "%llu bytes in one piece: %s binds at most %u",
                    (unsigned long long)size, b->caps.props.deviceName, l->maxStorageBufferRange);
    d->bind[slot] = (struct binding){at.buf->buffers[0], offset, size ? size : 4, write};
    d->params.base[slot] = (uint32_t)(at.off - offset) / 4;
    return ST_OK;
}

static enum kernel either(bool first, enum kernel a, enum kernel b)
{
    return first ? a : b;
}

static uint64_t div_up(uint64_t a, uint64_t b)
{
    return (a + b - 1) / b;
}

static uint64_t row_bytes(const struct weight *w)
{
    return type_bytes(type_by_id(w->type), w->n_in);
}

static struct window_plan plan_windows(const struct backend *b, const struct weight *w)
{
    return (struct window_plan){.segments = w->at.buf->segments,
                                .at = w->at.off,
                                .row_bytes = row_bytes(w),
                                .n_rows = w->n_out,
                                .limit = b->caps.props.limits.maxStorageBufferRange,
                                .align = b->caps.props.limits.minStorageBufferOffsetAlignment};
}

/* Binds the window of w that begins at row0 to slot 0. */
static enum status bind_window(struct backend *b, struct dispatch *d, const struct weight *w,
                               uint32_t row0, struct window *out, struct err *e)
{
    const struct window_plan p = plan_windows(b, w);
    if (p.at + p.row_bytes * w->n_out > p.segments.bytes)
        return fail(e, ST_RANGE, "a matrix of %u rows of %llu bytes at %zu of a buffer of %llu",
                    w->n_out, (unsigned long long)p.row_bytes, w->at.off,
                    (unsigned long long)p.segments.bytes);
    if (!window_at(&p, row0, out))
        return fail(e, ST_UNSUPPORTED, "a row of %llu bytes: %s binds at most %llu",
                    (unsigned long long)p.row_bytes, b->caps.props.deviceName,
                    (unsigned long long)p.limit);
    d->bind[0] = (struct binding){w->at.buf->buffers[out->segment], out->offset, out->size, false};
    d->params.base[0] = out->residual;
    d->params.row0 = row0;
    d->params.n_rows = out->n_rows;
    return ST_OK;
}

enum status vk_op_get_rows(struct backend *b, const struct op_get_rows *a, struct err *e)
{
    struct dispatch d = {.kernel =
                             either(b->config.narrow, KERNEL_get_rows_narrow, KERNEL_get_rows),
                         .type = a->w.type,
                         .spec = {LOCAL_SIZE},
                         .params = {.n_in = a->w.n_in, .n_cols = a->n},
                         .groups = div_up((uint64_t)div_up(a->w.n_in, 8) * a->n, LOCAL_SIZE)};
    char op[48];
    snprintf(op, sizeof op, "get_rows %s", type_by_id(a->w.type)->name);
    enum status st = vk_bind(b, &d, 1, a->ids, (uint64_t)a->n * 4, false, e);
    if (!st) st = vk_bind(b, &d, 2, a->out, (uint64_t)a->n * a->w.n_in * 4, true, e);
    struct window w = {0};
    for (uint32_t row = 0; !st && row < a->w.n_out; row += w.n_rows) {
        st = bind_window(b, &d, &a->w, row, &w, e);
        if (!st) st = vk_dispatch(b, op, &d, e);
    }
    return st;
}

enum { UNIT = 256 }; /* elements of a row that one dispatch of product_rows adds */

/* product_rows, unit after unit. */
static enum status dispatch_rows(struct backend *b, const char *op, struct dispatch *d,
                                 struct err *e)
{
    const uint32_t n_cols = d->params.n_cols, cols = n_cols > 4 ? 8 : n_cols > 1 ? 4 : 1;
    enum status st = ST_OK;
    d->kernel = KERNEL_product_rows;
    d->spec[0] = d->params.n_rows >= 1024 ? 256 : d->params.n_rows > 64 ? 128 : 32;
    d->spec[1] = cols;
    d->groups = div_up(d->params.n_rows, d->spec[0]) * div_up(n_cols, cols);
    const struct type_spec *t = type_by_id(d->type);
    const uint64_t row = type_bytes(t, d->params.n_in);
    d->spec[2] = d->params.base[0] % 16 == 0 && row % 16 == 0;
    for (uint32_t k = 0; !st && k < d->params.n_in; k += UNIT) {
        d->params.k0 = k;
        d->spec[3] = d->params.n_in - k >= UNIT;
        st = vk_dispatch(b, op, d, e);
    }
    return st;
}

/* The kernels for GPUs. */
static enum status dispatch_gpu(struct backend *b, const char *op, struct dispatch *d,
                                bool any_columns, struct err *e)
{
    const struct params *p = &d->params;
    const uint32_t cols = p->n_cols > 4 ? 8 : p->n_cols > 2 ? 4 : p->n_cols;
    d->spec[2] = p->base[1] % 4 == 0 && p->n_in % 4 == 0;
    if (any_columns) {
        d->kernel = KERNEL_matmul_tiled;
        d->spec[0] = 256;
        d->groups = div_up(p->n_rows, 64) * div_up(p->n_cols, 64);
    } else {
        d->kernel = !b->config.subgroup ? KERNEL_matvec_shared
                    : b->config.narrow  ? KERNEL_matvec_subgroup_narrow
                                        : KERNEL_matvec_subgroup;
        d->spec[0] = LOCAL_SIZE;
        d->spec[1] = cols;
        d->groups = div_up(p->n_rows, 2) * div_up(p->n_cols, cols);
    }
    return vk_dispatch(b, op, d, e);
}

/* All rows times one chunk of columns, which fit their bindings. */
static enum status product_columns(struct backend *b, const char *op, const struct op_matmul *a,
                                   uint32_t col0, uint32_t n_cols, bool any_columns, struct err *e)
{
    const struct weight *w = &a->w;
    struct dispatch d = {.type = w->type,
                         .params = {.n_in = w->n_in,
                                    .n_out = w->n_out,
                                    .n_cols = n_cols,
                                    .flags = a->bias.buf ? FLAG_BIAS : 0}};
    struct view x = {a->x.buf, a->x.off + (size_t)col0 * w->n_in * 4};
    struct view out = {a->out.buf, a->out.off + (size_t)col0 * w->n_out * 4};
    enum status st = vk_bind(b, &d, 1, x, (uint64_t)n_cols * w->n_in * 4, false, e);
    if (!st && a->bias.buf) st = vk_bind(b, &d, 2, a->bias, (uint64_t)w->n_out * 4, false, e);
    if (!st) st = vk_bind(b, &d, 3, out, (uint64_t)n_cols * w->n_out * 4, true, e);
    struct window win = {0};
    for (uint32_t row = 0; !st && row < w->n_out; row += win.n_rows) {
        st = bind_window(b, &d, w, row, &win, e);
        if (!st)
            st = b->config.rows ? dispatch_rows(b, op, &d, e)
                                : dispatch_gpu(b, op, &d, any_columns, e);
    }
    return st;
}

static enum status product(struct backend *b, const char *name, const struct op_matmul *a,
                           bool any_columns, struct err *e)
{
    char op[48];
    snprintf(op, sizeof op, "%s %s", name, type_by_id(a->w.type)->name);
    const uint32_t longer = a->w.n_in > a->w.n_out ? a->w.n_in : a->w.n_out;
    uint64_t most = (b->caps.props.limits.maxStorageBufferRange - 512) / 4 / (longer ? longer : 1);
    enum status st = ST_OK;
    if (most == 0) most = 1; /* too long for one binding: vk_bind says so */
    for (uint32_t col = 0, n; !st && col < a->n_cols; col += n) {
        n = a->n_cols - col < most ? a->n_cols - col : (uint32_t)most;
        st = product_columns(b, op, a, col, n, any_columns, e);
    }
    return st;
}

enum status vk_op_matvec(struct backend *b, const struct op_matmul *a, struct err *e)
{
    return product(b, "matvec", a, false, e);
}

enum status vk_op_matmul(struct backend *b, const struct op_matmul *a, struct err *e)
{
    return product(b, "matmul", a, true, e);
}

/* Size of a workgroup that reduces a row of n together. */
static uint32_t reducing_size(uint32_t n)
{
    return n >= 1024 ? 256 : LOCAL_SIZE;
}

/* Operations on rows: as many rows per dispatch as the bindings hold. */
static uint32_t rows_per_dispatch(const struct backend *b, uint32_t n)
{
    uint64_t most = (b->caps.props.limits.maxStorageBufferRange - 512) / 4 / (n ? n : 1);
    return most == 0 ? 1 : most > UINT32_MAX ? UINT32_MAX : (uint32_t)most;
}

static struct view advance(struct view v, uint64_t elements)
{
    return (struct view){v.buf, v.off + (size_t)elements * 4};
}

enum status vk_op_rms_norm(struct backend *b, const struct op_norm *a, struct err *e)
{
    const uint32_t most = rows_per_dispatch(b, a->n);
    enum status st = ST_OK;
    for (uint32_t row = 0, n; !st && row < a->rows; row += n) {
        n = a->rows - row < most ? a->rows - row : most;
        const uint64_t skip = (uint64_t)row * a->n, bytes = (uint64_t)n * a->n * 4;
        struct dispatch d = {
            .kernel = either(b->config.subgroup, KERNEL_rms_norm_subgroup, KERNEL_rms_norm_shared),
            .spec = {reducing_size(a->n)},
            .params = {.n_in = a->n, .n_rows = n, .scale = a->eps},
            .groups = n};
        st = vk_bind(b, &d, 0, advance(a->x, skip), bytes, false, e);
        if (!st) st = vk_bind(b, &d, 1, a->w, (uint64_t)a->n * 4, false, e);
        if (!st) st = vk_bind(b, &d, 2, advance(a->out, skip), bytes, true, e);
        if (!st) st = vk_dispatch(b, "rms_norm", &d, e);
    }
    return st;
}

enum status vk_op_softmax(struct backend *b, const struct op_softmax *a, struct err *e)
{
    const uint32_t most = rows_per_dispatch(b, a->n);
    enum status st = ST_OK;
    for (uint32_t row = 0, n; !st && row < a->rows; row += n) {
        n = a->rows - row < most ? a->rows - row : most;
        const uint64_t skip = (uint64_t)row * a->n, bytes = (uint64_t)n * a->n * 4;
        struct dispatch d = {
            .kernel = either(b->config.subgroup, KERNEL_softmax_subgroup, KERNEL_softmax_shared),
            .spec = {reducing_size(a->n)},
            .params = {.n_in = a->n, .n_rows = n},
            .groups = n};
        st = vk_bind(b, &d, 0, advance(a->x, skip), bytes, false, e);
        if (!st) st = vk_bind(b, &d, 1, advance(a->out, skip), bytes, true, e);
        if (!st) st = vk_dispatch(b, "softmax", &d, e);
    }
    return st;
}

enum status vk_op_argmax(struct backend *b, const struct op_rows *a, struct err *e)
{
    const uint32_t most = rows_per_dispatch(b, a->n);
    enum status st = ST_OK;
    for (uint32_t row = 0, n; !st && row < a->rows; row += n) {
        n = a->rows - row < most ? a->rows - row : most;
        struct dispatch d = {.kernel = KERNEL_argmax,
                             .spec = {reducing_size(a->n)},
                             .params = {.n_in = a->n, .n_rows = n},
                             .groups = n};
        st = vk_bind(b, &d, 0, advance(a->x, (uint64_t)row * a->n), (uint64_t)n * a->n * 4, false,
                     e);
        if (!st) st = vk_bind(b, &d, 1, advance(a->out, row), (uint64_t)n * 4, true, e);
        if (!st) st = vk_dispatch(b, "argmax", &d, e);
    }
    return st;
}

enum status vk_op_rope(struct backend *b, const struct op_rope *a, struct err *e)
{
    const uint64_t n = (uint64_t)a->n_tokens * a->n_heads, pairs = a->n_dims / 2;
    struct dispatch d = {.kernel = KERNEL_rope,
                         .spec = {LOCAL_SIZE},
                         .params = {.n_tokens = a->n_tokens,
                                    .n_heads = a->n_heads,
                                    .head_dim = a->head_dim,
                                    .n_dims = a->n_dims,
                                    .flags = a->pairing == ROPE_NEOX ? FLAG_NEOX : 0},
                         .groups = div_up(n * pairs, LOCAL_SIZE)};
    enum status st = vk_bind(b, &d, 0, a->x, n * a->head_dim * 4, true, e);
    if (!st) st = vk_bind(b, &d, 1, a->table, (uint64_t)a->n_tokens * pairs * 8, false, e);
    return st ? st : vk_dispatch(b, "rope", &d, e);
}

enum status vk_op_kv_write(struct backend *b, const struct op_kv_write *a, struct err *e)
{
    if (a->type != TYPE_F32 && a->type != TYPE_F16)
        return fail(e, ST_UNSUPPORTED, "kv_write: cache of type %s", type_by_id(a->type)->name);
    const bool half = a->type == TYPE_F16;
    const uint64_t words = half ? a->row / 2 + 1 : a->row;
    /* Which cells is known to the device only: the cache is bound to the end of its buffer. */
    uint64_t bytes = a->cache.buf->segments.bytes - a->cache.off;
    const uint64_t most = b->caps.props.limits.maxStorageBufferRange - 512;
    struct dispatch d = {.kernel = KERNEL_kv_write,
                         .spec = {LOCAL_SIZE, half},
                         .params = {.n_in = a->row, .n_tokens = a->n_tokens},
                         .groups = div_up(words * a->n_tokens, LOCAL_SIZE)};
    enum status st = vk_bind(b, &d, 0, a->src, (uint64_t)a->n_tokens * a->row * 4, false, e);
    if (!st) st = vk_bind(b, &d, 1, a->cells, (uint64_t)a->n_tokens * 4, false, e);
    if (!st) st = vk_bind(b, &d, 2, a->cache, bytes < most ? bytes : most, true, e);
    return st ? st : vk_dispatch(b, half ? "kv_write f16" : "kv_write f32", &d, e);
}

/* Operations element by element on up to two inputs (b absent: one), the inputs before out. */
static enum status elements(struct backend *b, const char *op, enum kernel kernel,
                            const struct op_binary *a, float factor, struct err *e)
{
    const bool two = a->b.buf != NULL || kernel == KERNEL_silu || kernel == KERNEL_gelu;
    const uint32_t out = two ? 2 : 1, most = rows_per_dispatch(b, 1) / 4 * 4;
    enum status st = ST_OK;
    for (uint32_t at = 0, n; !st && at < a->n; at += n) {
        n = a->n - at < most ? a->n - at : most;
        struct dispatch d = {.kernel = kernel,
                             .spec = {LOCAL_SIZE},
                             .params = {.n_in = n, .scale = factor},
                             .groups = div_up(n, LOCAL_SIZE)};
        st = vk_bind(b, &d, 0, advance(a->a, at), (uint64_t)n * 4, false, e);
        if (!st && a->b.buf) st = vk_bind(b, &d, 1, advance(a->b, at), (uint64_t)n * 4, false, e);
        if (!st) st = vk_bind(b, &d, out, advance(a->out, at), (uint64_t)n * 4, true, e);
        if (!st) st = vk_dispatch(b, op, &d, e);
    }
    return st;
}

enum status vk_op_silu(struct backend *b, const struct op_unary *a, struct err *e)
{
    const struct op_binary in = {.a = a->x, .out = a->out, .n = a->n};
    return elements(b, "silu", KERNEL_silu, &in, 0, e);
}

enum status vk_op_gelu(struct backend *b, const struct op_unary *a, struct err *e)
{
    const struct op_binary in = {.a = a->x, .out = a->out, .n = a->n};
    return elements(b, "gelu", KERNEL_gelu, &in, 0, e);
}

enum status vk_op_silu_mul(struct backend *b, const struct op_binary *a, struct err *e)
{
    return elements(b, "silu_mul", KERNEL_silu_mul, a, 0, e);
}

enum status vk_op_gelu_mul(struct backend *b, const struct op_binary *a, struct err *e)
{
    return elements(b, "gelu_mul", KERNEL_gelu_mul, a, 0, e);
}

enum status vk_op_add(struct backend *b, const struct op_binary *a, struct err *e)
{
    return elements(b, "add", KERNEL_add, a, 0, e);
}

enum status vk_op_scale(struct backend *b, const struct op_scale *a, struct err *e)
{
    const struct op_binary in = {.a = a->x, .out = a->out, .n = a->n};
    return elements(b, "scale", KERNEL_scale, &in, a->factor, e);
}
