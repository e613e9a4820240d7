/* Operations on weights: rows of them, and products. */
#include "engine/vulkan/vk.h"

#include <stdio.h>

/* Binds the window of w that begins at row0 to slot 0. */
static enum status bind_window(struct backend *b, struct dispatch *d, const struct weight *w,
                               uint32_t row0, struct window *out, struct err *e)
{
    const struct row_range rows = {w->at, type_bytes(type_by_id(w->type), w->n_in), w->n_out};
    enum status st = vk_bind_window(b, d, 0, &rows, row0, false, out, e);
    d->params.row0 = row0;
    d->params.n_rows = out->n_rows;
    return st;
}

enum status vk_op_get_rows(struct backend *b, const struct op_get_rows *a, struct err *e)
{
    struct dispatch d = {.kernel = b->config.half     ? KERNEL_get_rows_half
                                   : b->config.narrow ? KERNEL_get_rows_narrow
                                                      : KERNEL_get_rows,
                         .type = a->w.type,
                         .spec = {LOCAL_SIZE},
                         .params = {.n_in = a->w.n_in, .n_cols = a->n},
                         .groups = vk_div_up((uint64_t)vk_div_up(a->w.n_in, 8) * a->n, LOCAL_SIZE)};
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

/* A product of rows and tiles of columns: which rows are bound, how many columns a tile has. */
struct tiling {
    uint32_t n_rows; /* of a matrix; of the window, if there is one matrix */
    uint32_t width, n_tiles;
};

enum { UNIT = 256 }; /* elements of a row that one dispatch of product_rows adds */
enum { TILE = 64 };  /* columns, and rows, of a workgroup of matmul_tiled.comp */

/* product_rows, over rows n_rows at a time: what is the same for all dispatches. */
static enum status prepare_rows(struct backend *b, struct dispatch *d, const struct weight *w,
                                const struct window *win, uint32_t n_rows, struct err *e)
{
    const uint64_t row = type_bytes(type_by_id(d->type), w->n_in);
    d->kernel = KERNEL_product_rows;
    d->texels = w->at.buf->texels[win->segment];
    d->params.base[0] += (uint32_t)win->offset;
    d->spec[0] = n_rows >= 1024 ? 256 : 64; /* a pipeline each, which takes long to compile */
    d->spec[2] = d->params.base[0] % 16 == 0 && row % 16 == 0;
    d->groups = vk_div_up(n_rows, d->spec[0]);
    if (d->texels) return ST_OK;
    return fail(e, ST_UNSUPPORTED, "weights in a buffer of %llu bytes: %s reads %u texels",
                (unsigned long long)w->at.buf->segments.bytes, b->caps.props.deviceName,
                b->caps.props.limits.maxTexelBufferElements);
}

/* Unit after unit of the rows. */
static enum status dispatch_units(struct backend *b, const char *op, struct dispatch *d,
                                  struct err *e)
{
    enum status st = ST_OK;
    for (uint32_t k = 0; !st && k < d->params.n_in; k += UNIT) {
        d->params.k0 = k;
        d->spec[3] = d->params.n_in - k >= UNIT;
        st = vk_dispatch(b, op, d, e);
    }
    return st;
}

/* Some columns at a time. */
static enum status dispatch_rows(struct backend *b, const char *op, struct dispatch d,
                                 const struct weight *w, const struct window *win, struct err *e)
{
    const uint32_t n_cols = d.params.n_cols, cols = n_cols > 4 ? 8 : n_cols > 1 ? 4 : 1;
    enum status st = prepare_rows(b, &d, w, win, win->n_rows, e);
    d.spec[1] = cols;
    for (uint32_t col = 0; !st && col < n_cols; col += cols) {
        d.params.n_cols = n_cols - col < cols ? n_cols - col : cols;
        st = dispatch_units(b, op, &d, e);
        d.params.base[1] += cols * w->n_in;
        d.params.base[3] += cols * w->n_out;
    }
    return st;
}

/* The kernels for GPUs. */
static enum status dispatch_gpu(struct backend *b, const char *op, struct dispatch *d,
                                const struct tiling *t, struct err *e)
{
    d->spec[2] = d->params.base[1] % 4 == 0 && d->params.n_in % 4 == 0;
    if (t->width == TILE) {
        d->kernel = KERNEL_matmul_tiled;
        d->spec[0] = 256;
        d->groups = vk_div_up(t->n_rows, TILE) * t->n_tiles;
    } else {
        d->kernel = !b->config.subgroup ? KERNEL_matvec_shared
                    : b->config.half    ? KERNEL_matvec_subgroup_half
                    : b->config.narrow  ? KERNEL_matvec_subgroup_narrow
                                        : KERNEL_matvec_subgroup;
        d->spec[0] = LOCAL_SIZE;
        d->spec[1] = t->width;
        d->groups = vk_div_up(t->n_rows, 2) * t->n_tiles;
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
    struct tiling t = {.width = n_cols > 4 ? 8 : n_cols > 2 ? 4 : n_cols};
    if (any_columns) t.width = TILE;
    t.n_tiles = (uint32_t)vk_div_up(n_cols, t.width);
    struct view x = vk_advance(a->x, (uint64_t)col0 * w->n_in);
    struct view out = vk_advance(a->out, (uint64_t)col0 * w->n_out);
    enum status st = vk_bind(b, &d, 1, x, (uint64_t)n_cols * w->n_in * 4, false, e);
    if (!st && a->bias.buf) st = vk_bind(b, &d, 2, a->bias, (uint64_t)w->n_out * 4, false, e);
    if (!st) st = vk_bind(b, &d, 3, out, (uint64_t)n_cols * w->n_out * 4, true, e);
    struct window win = {0};
    for (uint32_t row = 0; !st && row < w->n_out; row += win.n_rows) {
        st = bind_window(b, &d, w, row, &win, e);
        t.n_rows = win.n_rows;
        if (!st)
            st = b->config.rows ? dispatch_rows(b, op, d, w, &win, e)
                                : dispatch_gpu(b, op, &d, &t, e);
    }
    return st;
}

static enum status product(struct backend *b, const char *name, const struct op_matmul *a,
                           bool any_columns, struct err *e)
{
    char op[48];
    snprintf(op, sizeof op, "%s %s", name, type_by_id(a->w.type)->name);
    const uint32_t longer = a->w.n_in > a->w.n_out ? a->w.n_in : a->w.n_out;
    const uint32_t most = vk_rows_per_dispatch(b, longer);
    enum status st = ST_OK;
    for (uint32_t col = 0, n; !st && col < a->n_cols; col += n) {
        n = a->n_cols - col < most ? a->n_cols - col : most;
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

/* ---- by experts ------------------------------------------------------------------------------ */

/* Tiles as wide as experts have columns on average; there are no more than that many full ones, and
 * one more of each expert. */
static struct tiling tile_experts(const struct backend *b, const struct op_matmul_id *a,
                                  uint32_t n_pairs)
{
    const uint32_t each = n_pairs / a->n_experts;
    struct tiling t = {.n_rows = a->w.n_out, .width = each > 4 ? 8 : each > 1 ? 4 : 1};
    if (each >= TILE / 4 && !b->config.rows) t.width = TILE;
    t.n_tiles = t.width == 1
                    ? n_pairs
                    : n_pairs / t.width + (a->n_experts < n_pairs ? a->n_experts : n_pairs);
    return t;
}

/* Lists the tiles in memory of the backend. */
static enum status list_tiles(struct backend *b, const char *op, struct view ids, uint32_t n_pairs,
                              uint32_t n_experts, const struct tiling *t, struct view *out,
                              struct err *e)
{
    const uint64_t bytes = (uint64_t)t->n_tiles * (t->width + 1) * 4;
    struct dispatch d = {
        .kernel = KERNEL_expert_tiles,
        .spec = {n_experts > LOCAL_SIZE ? 256 : LOCAL_SIZE},
        .params = {.n_cols = n_pairs, .n_experts = n_experts, .extra = {t->n_tiles, t->width}},
        .groups = 1};
    enum status st = vk_scratch(b, bytes, out, e);
    if (!st) st = vk_bind(b, &d, 0, ids, (uint64_t)n_pairs * 4, false, e);
    if (!st) st = vk_bind(b, &d, 1, *out, bytes, true, e);
    return st ? st : vk_dispatch(b, op, &d, e);
}

/* product_rows over all tiles. */
static enum status dispatch_tiles(struct backend *b, const char *op, struct dispatch d,
                                  const struct weight *w, const struct window *win,
                                  const struct tiling *t, struct err *e)
{
    enum status st = prepare_rows(b, &d, w, win, t->n_rows, e);
    d.spec[1] = t->width;
    d.groups *= t->n_tiles;
    return st ? st : dispatch_units(b, op, &d, e);
}

/* The operation on n tokens from token t0 on, which fit their bindings. */
static enum status product_by_expert(struct backend *b, const char *op,
                                     const struct op_matmul_id *a, uint32_t t0, uint32_t n,
                                     struct err *e)
{
    const struct weight *w = &a->w;
    const uint32_t n_pairs = n * a->n_used, n_x = a->x_per_slot ? a->n_used : 1;
    const uint64_t n_rows = (uint64_t)w->n_out * a->n_experts, pair0 = (uint64_t)t0 * a->n_used;
    const struct tiling t = tile_experts(b, a, n_pairs);
    struct dispatch d = {
        .type = w->type,
        .spec = {[4] = true},
        .params = {.n_in = w->n_in,
                   .n_out = w->n_out,
                   .n_cols = n_pairs,
                   .n_used = a->n_used,
                   .flags = (a->bias.buf ? FLAG_BIAS : 0) | (a->x_per_slot ? FLAG_PER_SLOT : 0),
                   .extra = {t.n_tiles}}};
    struct weight all = *w;
    all.n_out = (uint32_t)n_rows;
    if (n_rows > UINT32_MAX)
        return fail(e, ST_UNSUPPORTED, "%u experts of %u rows", a->n_experts, w->n_out);
    struct view tiles;
    enum status st =
        list_tiles(b, op, vk_advance(a->ids, pair0), n_pairs, a->n_experts, &t, &tiles, e);
    if (!st)
        st = vk_bind(b, &d, 1, vk_advance(a->x, (uint64_t)t0 * n_x * w->n_in),
                     (uint64_t)n * n_x * w->n_in * 4, false, e);
    if (!st && a->bias.buf) st = vk_bind(b, &d, 2, a->bias, n_rows * 4, false, e);
    if (!st)
        st = vk_bind(b, &d, 3, vk_advance(a->out, pair0 * w->n_out),
                     (uint64_t)n_pairs * w->n_out * 4, true, e);
    if (!st) st = vk_bind(b, &d, 4, tiles, (uint64_t)t.n_tiles * (t.width + 1) * 4, false, e);
    struct window win = {0};
    for (uint32_t row = 0; !st && row < all.n_out; row += win.n_rows) {
        st = bind_window(b, &d, &all, row, &win, e);
        if (!st)
            st = b->config.rows ? dispatch_tiles(b, op, d, &all, &win, &t, e)
                                : dispatch_gpu(b, op, &d, &t, e);
    }
    return st;
}

enum status vk_op_matmul_id(struct backend *b, const struct op_matmul_id *a, struct err *e)
{
    char op[48];
    snprintf(op, sizeof op, "matmul_id %s", type_by_id(a->w.type)->name);
    const uint64_t longer = a->w.n_in > a->w.n_out ? a->w.n_in : a->w.n_out;
    const uint32_t most = vk_rows_per_dispatch(b, longer * a->n_used);
    enum status st = ST_OK;
    for (uint32_t t = 0, n; !st && t < a->n_tokens; t += n) {
        n = a->n_tokens - t < most ? a->n_tokens - t : most;
        st = product_by_expert(b, op, a, t, n, e);
    }
    return st;
}
