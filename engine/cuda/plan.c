/* Plans of launches, and the table of kernels. */
#include "engine/cuda/plan.h"

#include <string.h>

const struct kernel_info kernel_table[KERNEL_COUNT] = {
#define SYNC                               true
#define FREE                               false
#define KERNEL(name, file, args, barriers) {#name, #file, barriers},
#include "engine/cuda/kernels/kernels.def"
#undef KERNEL
#undef SYNC
#undef FREE
};

#define KERNEL(name, file, args, barriers)                                                         \
    _Static_assert(sizeof(struct k_##args) <= LAUNCH_ARGS, "arguments of " #name);
#include "engine/cuda/kernels/kernels.def"
#undef KERNEL

void *plan_bytes(struct plan *p, const char *name, struct view v, size_t count, size_t size,
                 enum access access)
{
    size_t bytes;
    if (!v.buf || p->st != ST_OK) return NULL;
    if (!mul_size(count, size, &bytes) || v.off > v.buf->bytes || bytes > v.buf->bytes - v.off) {
        p->st =
            fail(p->e, ST_RANGE, "%s: %zu values of %zu bytes at %zu do not fit a buffer of %zu",
                 name, count, size, v.off, v.buf->bytes);
        return NULL;
    }
    if (access == WRITE && v.buf->read_only) {
        p->st = fail(p->e, ST_USAGE, "%s: weights are read-only", name);
        return NULL;
    }
    struct extent *x = &p->l.extents[p->l.n_extents++];
    *x = (struct extent){name, v.buf, v.buf->base + v.off, bytes, access == WRITE};
    return (void *)(uintptr_t)x->addr;
}

void *plan_use(struct plan *p, const char *name, struct view v, size_t count, enum access access)
{
    return plan_bytes(p, name, v, count, sizeof(float), access);
}

void *plan_rest(struct plan *p, const char *name, struct view v, enum access access)
{
    if (!v.buf) return NULL;
    return plan_bytes(p, name, v, v.buf->bytes - (v.off <= v.buf->bytes ? v.off : 0), 1, access);
}

enum status plan_run(struct backend *b, struct plan *p, struct plan_kernel k, const void *args,
                     size_t args_bytes)
{
    struct cuda_base *c = (struct cuda_base *)(void *)b;
    if (p->st != ST_OK) return p->st;
    if (k.grid_x == 0 || k.grid_y == 0) return ST_OK;
    if (k.grid_x > INT32_MAX || k.grid_y > UINT16_MAX)
        return fail(p->e, ST_RANGE, "%s: a grid of %llu x %llu blocks", kernel_table[k.id].name,
                    (unsigned long long)k.grid_x, (unsigned long long)k.grid_y);
    p->l.kernel = k.id;
    p->l.grid_x = (uint32_t)k.grid_x;
    p->l.grid_y = (uint32_t)k.grid_y;
    p->l.block = k.block;
    p->l.args_bytes = (uint32_t)args_bytes;
    memcpy(p->l.args, args, args_bytes);
    c->dispatches++;
    c->last = k.id;
    return c->launch(b, &p->l, p->e);
}

enum status plan_run_flat(struct backend *b, struct plan *p, enum kernel_id kernel, uint64_t items,
                          const void *args, size_t args_bytes)
{
    const struct plan_kernel k = {kernel, (items + FLAT_BLOCK - 1) / FLAT_BLOCK, 1, FLAT_BLOCK};
    return plan_run(b, p, k, args, args_bytes);
}
