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

/* The kernels' structs have the fields of spec/args.def, addresses in place of views, and no
 * others. Not so those of four blocks, whose sizes the host derives: get_rows, matmul and matmul_id
 * are told the bytes of a row, and pairs of tokens and slots; kv_write has a kernel for each
 * type. */
#define KERNEL_get_rows(check, ...)
#define KERNEL_matmul(check, ...)
#define KERNEL_matmul_id(check, ...)
#define KERNEL_kv_write(check, ...)
#define KERNEL_norm(check, ...)       check(k_norm, __VA_ARGS__)
#define KERNEL_rope(check, ...)       check(k_rope, __VA_ARGS__)
#define KERNEL_attention(check, ...)  check(k_attention, __VA_ARGS__)
#define KERNEL_softmax(check, ...)    check(k_softmax, __VA_ARGS__)
#define KERNEL_rows(check, ...)       check(k_argmax, __VA_ARGS__)
#define KERNEL_unary(check, ...)      check(k_unary, __VA_ARGS__)
#define KERNEL_binary(check, ...)     check(k_binary, __VA_ARGS__)
#define KERNEL_scale(check, ...)      check(k_scale, __VA_ARGS__)
#define KERNEL_scale_rows(check, ...) check(k_scale_rows, __VA_ARGS__)
#define KERNEL_copy(check, ...)       check(k_copy, __VA_ARGS__)
#define KERNEL_route(check, ...)      check(k_route, __VA_ARGS__)
#define KERNEL_moe_sum(check, ...)    check(k_moe_sum, __VA_ARGS__)
#define HAS(kernel, field, kind)                                                                   \
    _Static_assert(_Generic(((struct kernel *)0)->field, kind : 1, default : 0),                   \
                   #kernel " and spec/args.def differ in " #field);

/* clang-format off */
/* As many values as the list has fields: the compiler refuses too few as it does too many. */
#define BEGIN(kernel, name)                                                                        \
    static inline void fill_##kernel(void)                                                         \
    {                                                                                              \
        const struct kernel all = {
#define VALUE(kernel, name) 0,
#define FINISH(kernel, name)                                                                       \
        };                                                                                         \
        (void)all;                                                                                 \
    }
/* clang-format on */

typedef float kernel_F32;
typedef int32_t kernel_I32;
typedef uint8_t kernel_BYTES;
#define ARGS(name, plug_in)
#define WEIGHT(args, name)
#define INPUT(args, name, as, values)  KERNEL_##args(HAS, name, const kernel_##values *)
#define OUTPUT(args, name, as, values) KERNEL_##args(HAS, name, kernel_##values *)
#define SIZE(args, name)               KERNEL_##args(HAS, name, uint32_t)
#define CODE(args, kind, name, as)     KERNEL_##args(HAS, as, uint32_t)
#define REAL(args, name)               KERNEL_##args(HAS, name, float)
#define UNUSED(args, as, values)
#define FIXED(args, as, value)
#define END(name, plug_in)
#include "spec/args.def"

#define ARGS(name, plug_in) KERNEL_##name(BEGIN, name)
#define WEIGHT(args, name)
#define INPUT(args, name, as, values)  KERNEL_##args(VALUE, name)
#define OUTPUT(args, name, as, values) KERNEL_##args(VALUE, name)
#define SIZE(args, name)               KERNEL_##args(VALUE, name)
#define CODE(args, kind, name, as)     KERNEL_##args(VALUE, name)
#define REAL(args, name)               KERNEL_##args(VALUE, name)
#define UNUSED(args, as, values)
#define FIXED(args, as, value)
#define END(name, plug_in) KERNEL_##name(FINISH, name)
#include "spec/args.def"

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
