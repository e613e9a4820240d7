/* The operations on rows and on elements: which kernel, which buffers, how many workgroups. */
#include "engine/vulkan/vk.h"

enum status vk_bind(struct backend *b, struct dispatch *d, uint32_t slot, struct view at,
                    uint64_t bytes, bool write, struct err *e)
{
    const VkPhysicalDeviceLimits *l = &b->caps.props.limits;
    uint64_t offset = at.off & ~(l->minStorageBufferOffsetAlignment - 1);
    uint64_t size = at.off - offset + (bytes + 3) / 4 * 4;
    if (at.buf->n_segments != 1 || at.off + bytes > at.buf->segments.bytes)
        return fail(e, ST_RANGE, "%llu bytes at %zu of a buffer of %llu", (unsigned long long)bytes,
                    at.off, (unsigned long long)at.buf->segments.bytes);
    if (size > b->config.range)
        return fail(e, ST_UNSUPPORTED, "%llu bytes in one piece: %s binds at most %u",
                    (unsigned long long)size, b->caps.props.deviceName, b->config.range);
    d->bind[slot] = (struct binding){at.buf->buffers[0], offset, size ? size : 4, write};
    d->params.base[slot] = (uint32_t)(at.off - offset) / 4;
    return ST_OK;
}

enum status vk_bind_window(struct backend *b, struct dispatch *d, uint32_t slot,
                           const struct row_range *r, uint32_t row0, bool write, struct window *out,
                           struct err *e)
{
    const VkPhysicalDeviceLimits *l = &b->caps.props.limits;
    const struct window_plan p = {.segments = r->at.buf->segments,
                                  .at = r->at.off,
                                  .row_bytes = r->row_bytes,
                                  .n_rows = r->n_rows,
                                  .limit = b->config.range,
                                  .align = l->minStorageBufferOffsetAlignment};
    *out = (struct window){0};
    if (p.at + p.row_bytes * p.n_rows > p.segments.bytes)
        return fail(e, ST_RANGE, "%u rows of %llu bytes at %zu of a buffer of %llu", r->n_rows,
                    (unsigned long long)p.row_bytes, r->at.off,
                    (unsigned long long)p.segments.bytes);
    if (!window_at(&p, row0, out))
        return fail(e, ST_UNSUPPORTED, "a row of %llu bytes: %s binds at most %llu",
                    (unsigned long long)p.row_bytes, b->caps.props.deviceName,
                    (unsigned long long)p.limit);
    d->bind[slot] =
        (struct binding){r->at.buf->buffers[out->segment], out->offset, out->size, write};
    d->params.base[slot] = out->residual;
    return ST_OK;
}

static enum kernel either(bool first, enum kernel a, enum kernel b)
{
    return first ? a : b;
}

/* Size of a workgroup that reduces a row of n together. */
static uint32_t reducing_size(uint32_t n)
{
    return n >= 1024 ? 256 : LOCAL_SIZE;
}

uint32_t vk_rows_per_dispatch(const struct backend *b, uint64_t n)
{
    uint64_t most = (b->config.range - 512) / 4 / (n ? n : 1);
    return most == 0 ? 1 : most > UINT32_MAX ? UINT32_MAX : (uint32_t)most;
}

/* rms_norm, layer_norm */
static enum status norm(struct backend *b, const char *op, enum kernel kernel,
                        const struct op_norm *a, struct err *e)
{
    const uint32_t most = vk_rows_per_dispatch(b, a->n);
    const uint64_t weights = (uint64_t)a->w_rows * a->n * 4;
    enum status st = ST_OK;
    for (uint32_t row = 0, n; !st && row < a->rows; row += n) {
        n = a->rows - row < most ? a->rows - row : most;
        const uint64_t skip = (uint64_t)row * a->n, bytes = (uint64_t)n * a->n * 4;
        struct dispatch d = {.kernel = kernel,
                             .spec = {reducing_size(a->n)},
                             .params = {.n_in = a->n,
                                        .n_rows = n,
                                        .scale = a->eps,
                                        .flags = a->b.buf ? FLAG_BIAS : 0,
                                        .extra = {a->w_rows, row % a->w_rows}},
                             .groups = n};
        st = vk_bind(b, &d, 0, vk_advance(a->x, skip), bytes, false, e);
        if (!st) st = vk_bind(b, &d, 1, a->w, weights, false, e);
        if (!st) st = vk_bind(b, &d, 2, vk_advance(a->out, skip), bytes, true, e);
        if (!st && a->b.buf) st = vk_bind(b, &d, 3, a->b, weights, false, e);
        if (!st) st = vk_dispatch(b, op, &d, e);
    }
    return st;
}

enum status vk_op_rms_norm(struct backend *b, const struct op_norm *a, struct err *e)
{
    return norm(b, "rms_norm",
                either(b->config.subgroup, KERNEL_rms_norm_subgroup, KERNEL_rms_norm_shared), a, e);
}

enum status vk_op_layer_norm(struct backend *b, const struct op_norm *a, struct err *e)
{
    return norm(b, "layer_norm",
                either(b->config.subgroup, KERNEL_layer_norm_subgroup, KERNEL_layer_norm_shared), a,
                e);
}

enum status vk_op_softmax(struct backend *b, const struct op_softmax *a, struct err *e)
{
    const uint32_t most = vk_rows_per_dispatch(b, a->n), sinks = a->sinks.buf ? a->n_sinks : 1;
    enum status st = ST_OK;
    for (uint32_t row = 0, n; !st && row < a->rows; row += n) {
        n = a->rows - row < most ? a->rows - row : most;
        const uint64_t skip = (uint64_t)row * a->n, bytes = (uint64_t)n * a->n * 4;
        struct dispatch d = {
            .kernel = either(b->config.subgroup, KERNEL_softmax_subgroup, KERNEL_softmax_shared),
            .spec = {reducing_size(a->n)},
            .params = {.n_in = a->n,
                       .n_rows = n,
                       .flags = a->sinks.buf ? FLAG_SINKS : 0,
                       .extra = {sinks, row % sinks}},
            .groups = n};
        st = vk_bind(b, &d, 0, vk_advance(a->x, skip), bytes, false, e);
        if (!st) st = vk_bind(b, &d, 1, vk_advance(a->out, skip), bytes, true, e);
        if (!st && a->sinks.buf) st = vk_bind(b, &d, 2, a->sinks, (uint64_t)sinks * 4, false, e);
        if (!st) st = vk_dispatch(b, "softmax", &d, e);
    }
    return st;
}

enum status vk_op_argmax(struct backend *b, const struct op_rows *a, struct err *e)
{
    const uint32_t most = vk_rows_per_dispatch(b, a->n);
    enum status st = ST_OK;
    for (uint32_t row = 0, n; !st && row < a->rows; row += n) {
        n = a->rows - row < most ? a->rows - row : most;
        struct dispatch d = {.kernel = KERNEL_argmax,
                             .spec = {reducing_size(a->n)},
                             .params = {.n_in = a->n, .n_rows = n},
                             .groups = n};
        st = vk_bind(b, &d, 0, vk_advance(a->x, (uint64_t)row * a->n), (uint64_t)n * a->n * 4,
                     false, e);
        if (!st) st = vk_bind(b, &d, 1, vk_advance(a->out, row), (uint64_t)n * 4, true, e);
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
                                    .flags = a->pairing == ROPE_NEOX ? FLAG_NEOX : 0,
                                    .extra = {a->first}},
                         .groups = vk_div_up(n * pairs, LOCAL_SIZE)};
    enum status st = vk_bind(b, &d, 0, a->x, n * a->head_dim * 4, true, e);
    if (!st) st = vk_bind(b, &d, 1, a->table, (uint64_t)a->n_tokens * pairs * 8, false, e);
    return st ? st : vk_dispatch(b, "rope", &d, e);
}

/* Operations element by element on up to two inputs (b absent: one). */
static enum status elements(struct backend *b, const char *op, enum kernel kernel,
                            const struct op_binary *a, float factor, struct err *e)
{
    const bool one = kernel == KERNEL_scale || kernel == KERNEL_softcap;
    const uint32_t out = one ? 1 : 2, most = vk_rows_per_dispatch(b, 1) / 4 * 4;
    enum status st = ST_OK;
    for (uint32_t at = 0, n; !st && at < a->n; at += n) {
        n = a->n - at < most ? a->n - at : most;
        struct dispatch d = {.kernel = kernel,
                             .spec = {LOCAL_SIZE},
                             .params = {.n_in = n, .scale = factor},
                             .groups = vk_div_up(n, LOCAL_SIZE)};
        st = vk_bind(b, &d, 0, vk_advance(a->a, at), (uint64_t)n * 4, false, e);
        if (!st && a->b.buf)
            st = vk_bind(b, &d, 1, vk_advance(a->b, at), (uint64_t)n * 4, false, e);
        if (!st) st = vk_bind(b, &d, out, vk_advance(a->out, at), (uint64_t)n * 4, true, e);
        if (!st) st = vk_dispatch(b, op, &d, e);
    }
    return st;
}

/* The operations of one kernel each. */
#define UNARY(op)                                                                                  \
    enum status vk_op_##op(struct backend *b, const struct op_unary *a, struct err *e)             \
    {                                                                                              \
        const struct op_binary in = {.a = a->x, .out = a->out, .n = a->n};                         \
        return elements(b, #op, KERNEL_##op, &in, 0, e);                                           \
    }
#define BINARY(op)                                                                                 \
    enum status vk_op_##op(struct backend *b, const struct op_binary *a, struct err *e)            \
    {                                                                                              \
        return elements(b, #op, KERNEL_##op, a, 0, e);                                             \
    }
#define SCALE(op)                                                                                  \
    enum status vk_op_##op(struct backend *b, const struct op_scale *a, struct err *e)             \
    {                                                                                              \
        const struct op_binary in = {.a = a->x, .out = a->out, .n = a->n};                         \
        return elements(b, #op, KERNEL_##op, &in, a->factor, e);                                   \
    }

UNARY(silu)
UNARY(gelu)
UNARY(gelu_erf)
UNARY(sigmoid)
BINARY(silu_mul)
BINARY(gelu_mul)
BINARY(gelu_erf_mul)
BINARY(swiglu_oai)
BINARY(add)
SCALE(scale)
SCALE(softcap)

enum status vk_op_scale_rows(struct backend *b, const struct op_scale_rows *a, struct err *e)
{
    const uint32_t most = vk_rows_per_dispatch(b, a->n);
    enum status st = ST_OK;
    for (uint32_t row = 0, n; !st && row < a->rows; row += n) {
        n = a->rows - row < most ? a->rows - row : most;
        const uint64_t skip = (uint64_t)row * a->n, values = (uint64_t)n * a->n;
        struct dispatch d = {.kernel = KERNEL_scale_rows,
                             .spec = {LOCAL_SIZE},
                             .params = {.n_in = a->n, .n_rows = n},
                             .groups = vk_div_up(values, LOCAL_SIZE)};
        st = vk_bind(b, &d, 0, vk_advance(a->x, skip), values * 4, false, e);
        if (!st) st = vk_bind(b, &d, 1, vk_advance(a->factors, row), (uint64_t)n * 4, false, e);
        if (!st) st = vk_bind(b, &d, 2, vk_advance(a->out, skip), values * 4, true, e);
        if (!st) st = vk_dispatch(b, "scale_rows", &d, e);
    }
    return st;
}

/* Values from the first to the last of n rows. */
static uint64_t copy_extent(const struct op_copy *a, uint32_t n, uint32_t row, uint32_t group)
{
    return (uint64_t)(n - 1) * row + (uint64_t)(a->groups - 1) * group + a->n;
}

enum status vk_op_copy(struct backend *b, const struct op_copy *a, struct err *e)
{
    const uint64_t x = copy_extent(a, 1, 0, a->x_group), out = copy_extent(a, 1, 0, a->out_group);
    const uint64_t one = (x > out ? x : out),
                   stride = a->x_row > a->out_row ? a->x_row : a->out_row;
    const uint32_t most = vk_rows_per_dispatch(b, one > stride ? one : stride);
    enum status st = ST_OK;
    if (a->groups == 0 || a->n == 0) return ST_OK;
    for (uint32_t row = 0, n; !st && row < a->rows; row += n) {
        n = a->rows - row < most ? a->rows - row : most;
        struct dispatch d = {.kernel = KERNEL_copy,
                             .spec = {LOCAL_SIZE},
                             .params = {.n_in = a->n,
                                        .n_rows = n,
                                        .n_cols = a->groups,
                                        .extra = {a->x_row, a->x_group, a->out_row, a->out_group}},
                             .groups = vk_div_up((uint64_t)n * a->groups * a->n, LOCAL_SIZE)};
        st = vk_bind(b, &d, 0, vk_advance(a->x, (uint64_t)row * a->x_row),
                     copy_extent(a, n, a->x_row, a->x_group) * 4, false, e);
        if (!st)
            st = vk_bind(b, &d, 1, vk_advance(a->out, (uint64_t)row * a->out_row),
                         copy_extent(a, n, a->out_row, a->out_group) * 4, true, e);
        if (!st) st = vk_dispatch(b, "copy", &d, e);
    }
    return st;
}
