/* Mixtures of experts: the choice of experts and the sum of their results. */
#include "engine/vulkan/vk.h"

enum { MAX_EXPERTS = 1024 }; /* as route.comp says */

enum status vk_op_route(struct backend *b, const struct op_route *a, struct err *e)
{
    if (a->n_experts > MAX_EXPERTS)
        return fail(e, ST_UNSUPPORTED, "route: %u experts, more than %d", a->n_experts,
                    MAX_EXPERTS);
    const uint64_t used = (uint64_t)a->n_tokens * a->n_used * 4;
    struct dispatch d = {
        .kernel = KERNEL_route,
        .spec = {a->n_experts > 128 ? 256 : LOCAL_SIZE},
        .params = {.n_tokens = a->n_tokens,
                   .n_experts = a->n_experts,
                   .n_used = a->n_used,
                   .scale = a->scale,
                   .flags = a->bias.buf ? FLAG_BIAS : 0,
                   .extra = {a->n_groups, a->n_groups_used, (uint32_t)a->gating, a->normalise}},
        .groups = a->n_tokens};
    enum status st =
        vk_bind(b, &d, 0, a->logits, (uint64_t)a->n_tokens * a->n_experts * 4, false, e);
    if (!st && a->bias.buf) st = vk_bind(b, &d, 1, a->bias, (uint64_t)a->n_experts * 4, false, e);
    if (!st) st = vk_bind(b, &d, 2, a->ids, used, true, e);
    if (!st) st = vk_bind(b, &d, 3, a->weights, used, true, e);
    return st ? st : vk_dispatch(b, "route", &d, e);
}

enum status vk_op_moe_sum(struct backend *b, const struct op_moe_sum *a, struct err *e)
{
    const uint32_t most = vk_rows_per_dispatch(b, (uint64_t)a->n_used * a->n);
    enum status st = ST_OK;
    for (uint32_t t = 0, n; !st && t < a->n_tokens; t += n) {
        n = a->n_tokens - t < most ? a->n_tokens - t : most;
        const uint64_t slot = (uint64_t)t * a->n_used, slots = (uint64_t)n * a->n_used;
        struct dispatch d = {.kernel = KERNEL_moe_sum,
                             .spec = {LOCAL_SIZE},
                             .params = {.n_in = a->n, .n_tokens = n, .n_used = a->n_used},
                             .groups = vk_div_up((uint64_t)n * a->n, LOCAL_SIZE)};
        st = vk_bind(b, &d, 0, vk_advance(a->x, slot * a->n), slots * a->n * 4, false, e);
        if (!st) st = vk_bind(b, &d, 1, vk_advance(a->weights, slot), slots * 4, false, e);
        if (!st)
            st = vk_bind(b, &d, 2, vk_advance(a->out, (uint64_t)t * a->n), (uint64_t)n * a->n * 4,
                         true, e);
        if (!st) st = vk_dispatch(b, "moe_sum", &d, e);
    }
    return st;
}
