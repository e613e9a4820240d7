/* Operations as launches: which kernel, how many blocks, which bytes each argument may touch. Those
 * on weights are in ops_matmul.c, those on the cache in ops_attention.c. */
#include "engine/cuda/plan.h"

#include <string.h>

static const char general_word[] = "general";

void cuda_choose(struct cuda_base *c, const char *list, bool mma)
{
    for (const char *p = list; p && *p;) {
        size_t len = strcspn(p, "+");
        if (len == strlen(general_word) && memcmp(p, general_word, len) == 0) c->general = true;
        p += len + (p[len] == '+');
    }
    c->mma = mma && !c->general;
}

void cuda_stats(struct backend *b, struct backend_stats *out)
{
    const struct cuda_base *c = (const struct cuda_base *)(const void *)b;
    memset(out, 0, sizeof *out);
    out->dispatches = c->dispatches;
    if (c->dispatches == 0) return;
    size_t n = strlen(kernel_table[c->last].name);
    if (n >= sizeof out->variant) n = sizeof out->variant - 1;
    memcpy(out->variant, kernel_table[c->last].name, n);
}

static enum status run_norm(struct backend *b, const struct op_norm *a, enum kernel_id kernel,
                            struct err *e)
{
    struct plan p = {.e = e};
    struct k_norm k = {.rows = a->rows, .n = a->n, .w_rows = a->w_rows, .eps = a->eps};
    if (a->w_rows == 0)
        return fail(e, ST_USAGE, "%s: no row of weights", kernel_table[kernel].name);
    k.x = plan_use(&p, "x", a->x, (size_t)a->rows * a->n, READ);
    k.w = plan_use(&p, "w", a->w, (size_t)a->w_rows * a->n, READ);
    k.b = plan_use(&p, "b", a->b, (size_t)a->w_rows * a->n, READ);
    k.out = plan_use(&p, "out", a->out, (size_t)a->rows * a->n, WRITE);
    return plan_run(b, &p, (struct plan_kernel){kernel, a->rows, 1, ROW_BLOCK}, &k, sizeof k);
}

enum status cuda_op_rope(struct backend *b, const struct op_rope *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_rope k = {.n_tokens = a->n_tokens,
                       .n_heads = a->n_heads,

                       .head_dim = a->head_dim,
                       .first = a->first,
                       .n_dims = a->n_dims,
                       .neox = a->pairing == ROPE_NEOX};
    k.x = plan_use(&p, "x", a->x, (size_t)a->n_tokens * a->n_heads * a->head_dim, WRITE);
    k.table = plan_use(&p, "table", a->table, (size_t)a->n_tokens * (a->n_dims / 2) * 2, READ);
    uint64_t items = (uint64_t)a->n_tokens * a->n_heads * (a->n_dims / 2);
    return plan_run_flat(b, &p, KERNEL_rope, items, &k, sizeof k);
}

enum status cuda_op_argmax(struct backend *b, const struct op_rows *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_argmax k = {.rows = a->rows, .n = a->n};
    k.x = plan_use(&p, "x", a->x, (size_t)a->rows * a->n, READ);
    k.out = plan_use(&p, "out", a->out, a->rows, WRITE);
    return plan_run(b, &p, (struct plan_kernel){KERNEL_argmax, a->rows, 1, ROW_BLOCK}, &k,
                    sizeof k);
}

static enum status run_unary(struct backend *b, const struct op_unary *a, enum kernel_id kernel,
                             struct err *e)
{
    struct plan p = {.e = e};
    struct k_unary k = {.n = a->n};
    k.x = plan_use(&p, "x", a->x, a->n, READ);
    k.out = plan_use(&p, "out", a->out, a->n, WRITE);
    return plan_run_flat(b, &p, kernel, a->n, &k, sizeof k);
}

static enum status run_binary(struct backend *b, const struct op_binary *a, enum kernel_id kernel,
                              struct err *e)
{
    struct plan p = {.e = e};
    struct k_binary k = {.n = a->n};
    k.a = plan_use(&p, "a", a->a, a->n, READ);
    k.b = plan_use(&p, "b", a->b, a->n, READ);
    k.out = plan_use(&p, "out", a->out, a->n, WRITE);
    return plan_run_flat(b, &p, kernel, a->n, &k, sizeof k);
}

static enum status run_scale(struct backend *b, const struct op_scale *a, enum kernel_id kernel,
                             struct err *e)
{
    struct plan p = {.e = e};
    struct k_scale k = {.n = a->n, .factor = a->factor};
    k.x = plan_use(&p, "x", a->x, a->n, READ);
    k.out = plan_use(&p, "out", a->out, a->n, WRITE);
    return plan_run_flat(b, &p, kernel, a->n, &k, sizeof k);
}

/* Operations of one form. */
#define FORM_OP(name, form)                                                                        \
    enum status cuda_op_##name(struct backend *b, const struct op_##form *a, struct err *e)        \
    {                                                                                              \
        return run_##form(b, a, KERNEL_##name, e);                                                 \
    }
FORM_OP(rms_norm, norm)
FORM_OP(layer_norm, norm)
FORM_OP(silu, unary)
FORM_OP(gelu, unary)
FORM_OP(gelu_erf, unary)
FORM_OP(sigmoid, unary)
FORM_OP(silu_mul, binary)
FORM_OP(gelu_mul, binary)
FORM_OP(gelu_erf_mul, binary)
FORM_OP(swiglu_oai, binary)
FORM_OP(add, binary)
FORM_OP(scale, scale)
FORM_OP(softcap, scale)

enum status cuda_op_scale_rows(struct backend *b, const struct op_scale_rows *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_scale_rows k = {.rows = a->rows, .n = a->n};
    size_t n = (size_t)a->rows * a->n;
    k.x = plan_use(&p, "x", a->x, n, READ);
    k.factors = plan_use(&p, "factors", a->factors, a->rows, READ);
    k.out = plan_use(&p, "out", a->out, n, WRITE);
    return plan_run_flat(b, &p, KERNEL_scale_rows, n, &k, sizeof k);
}

/* Values from the first to the last of a layout of strides. */
static size_t span_of(const struct op_copy *a, uint32_t row, uint32_t group)
{
    if (a->rows == 0 || a->groups == 0 || a->n == 0) return 0;
    return (size_t)(a->rows - 1) * row + (size_t)(a->groups - 1) * group + a->n;
}

enum status cuda_op_copy(struct backend *b, const struct op_copy *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_copy k = {.rows = a->rows,
                       .groups = a->groups,
                       .n = a->n,
                       .x_row = a->x_row,
                       .x_group = a->x_group,
                       .out_row = a->out_row,
                       .out_group = a->out_group};
    size_t lines;
    if (!mul_size(a->rows, a->groups, &lines) || lines > UINT32_MAX)
        return fail(e, ST_RANGE, "copy: %u rows of %u groups", a->rows, a->groups);
    k.x = plan_use(&p, "x", a->x, span_of(a, a->x_row, a->x_group), READ);
    k.out = plan_use(&p, "out", a->out, span_of(a, a->out_row, a->out_group), WRITE);
    return plan_run_flat(b, &p, KERNEL_copy, (uint64_t)lines * a->n, &k, sizeof k);
}

_Static_assert((int)GATE_SOFTMAX == (int)ROUTE_SOFTMAX && (int)GATE_SIGMOID == (int)ROUTE_SIGMOID &&
                   (int)GATE_CHOSEN == (int)ROUTE_SOFTMAX_CHOSEN,
               "gatings as the kernel knows them");

enum status cuda_op_route(struct backend *b, const struct op_route *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_route k = {.n_tokens = a->n_tokens,
                        .n_experts = a->n_experts,
                        .n_used = a->n_used,
                        .n_groups = a->n_groups > 1 ? a->n_groups : 1,
                        .n_groups_used = a->n_groups > 1 ? a->n_groups_used : 1,
                        .gating = (uint32_t)a->gating,
                        .normalise = a->normalise,
                        .scale = a->scale};
    if (k.n_experts > MAX_EXPERTS || k.n_experts % k.n_groups != 0 ||
        k.n_groups_used > k.n_groups ||
        k.n_used > (uint64_t)k.n_experts / k.n_groups * k.n_groups_used)
        return fail(e, ST_RANGE, "route: %u of %u experts, %u of %u groups, at most %d experts",
                    k.n_used, k.n_experts, k.n_groups_used, k.n_groups, MAX_EXPERTS);
    size_t chosen = (size_t)k.n_tokens * k.n_used;
    k.logits = plan_use(&p, "logits", a->logits, (size_t)k.n_tokens * k.n_experts, READ);
    k.bias = plan_use(&p, "bias", a->bias, k.n_experts, READ);
    k.ids = plan_use(&p, "ids", a->ids, chosen, WRITE);
    k.weights = plan_use(&p, "weights", a->weights, chosen, WRITE);
    return plan_run(b, &p,
                    (struct plan_kernel){KERNEL_route, chosen ? k.n_tokens : 0, 1, ROW_BLOCK}, &k,
                    sizeof k);
}

enum status cuda_op_moe_sum(struct backend *b, const struct op_moe_sum *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_moe_sum k = {.n_tokens = a->n_tokens, .n_used = a->n_used, .n = a->n};
    size_t slots = (size_t)a->n_tokens * a->n_used, n = (size_t)a->n_tokens * a->n;
    k.x = plan_use(&p, "x", a->x, slots * a->n, READ);
    k.weights = plan_use(&p, "weights", a->weights, slots, READ);
    k.out = plan_use(&p, "out", a->out, n, WRITE);
    return plan_run_flat(b, &p, KERNEL_moe_sum, n, &k, sizeof k);
}
