/* Keys of a model by name; see model_load.h. */
#include "reference/model_load.h"

#include <math.h>
#include <stdio.h>

void ref_load_key(const struct ref_loader *l, const char *key, char *out)
{
    snprintf(out, REF_NAME_CAP, "%s.%s", l->m->arch_name, key);
}

bool ref_load_has(struct ref_loader *l, const char *key, double *out)
{
    char name[REF_NAME_CAP];
    ref_load_key(l, key, name);
    if (l->failed || !l->src->number(l->src->ctx, name, out)) return false;
    if (!isfinite(*out)) ref_load_fail(l, "key %s is %g", name, *out);
    return true;
}

double ref_load_number_or(struct ref_loader *l, const char *key, double fallback)
{
    double value;
    return ref_load_has(l, key, &value) ? value : fallback;
}

double ref_load_number(struct ref_loader *l, const char *key)
{
    double value = 0;
    if (!ref_load_has(l, key, &value))
        ref_load_fail(l, "key %s.%s is missing", l->m->arch_name, key);
    return value;
}

/* A count per layer, of which all must agree. */
static bool key_find_array(struct ref_loader *l, const char *key, double *out)
{
    char name[REF_NAME_CAP];
    double value;
    ref_load_key(l, key, name);
    if (l->failed || !l->src->number_at(l->src->ctx, name, 0, out)) return false;
    for (size_t i = 1; l->src->number_at(l->src->ctx, name, i, &value); i++)
        if (!(value == *out))
            ref_load_refuse(l, "key %s differs between layers: %g in 0, %g in %zu", name, *out,
                            value, i);
    return true;
}

uint32_t ref_load_count_or(struct ref_loader *l, const char *key, uint32_t fallback)
{
    double value;
    if (!ref_load_has(l, key, &value) && !key_find_array(l, key, &value)) return fallback;
    if (!(value >= 1 && value <= INT32_MAX && value == floor(value))) {
        ref_load_fail(l, "key %s.%s is %g, not a count", l->m->arch_name, key, value);
        return 1;
    }
    return (uint32_t)value;
}

uint32_t ref_load_count(struct ref_loader *l, const char *key)
{
    const uint32_t count = ref_load_count_or(l, key, 0);
    if (count == 0) ref_load_fail(l, "key %s.%s is missing", l->m->arch_name, key);
    return count > 0 ? count : 1; /* never 0, so that callers may divide */
}

uint32_t ref_load_count_or_none(struct ref_loader *l, const char *key)
{
    double value;
    if (!ref_load_has(l, key, &value) && !key_find_array(l, key, &value)) return 0;
    return value == 0 ? 0 : ref_load_count(l, key);
}

/* Experts need a count of both kinds; a model without any has neither. */
bool ref_load_has_experts(struct ref_loader *l)
{
    struct ref_shape *s = &l->m->shape;
    s->n_experts = ref_load_count_or_none(l, "expert_count");
    s->n_experts_used = ref_load_count_or_none(l, "expert_used_count");
    if (s->n_experts_used > s->n_experts || (s->n_experts_used == 0) != (s->n_experts == 0))
        ref_load_fail(l, "%u of %u experts cannot be used", s->n_experts_used, s->n_experts);
    if (s->n_experts > REF_MAX_EXPERTS)
        ref_load_refuse(l, "key %s.expert_count is %u, more than %d", l->m->arch_name, s->n_experts,
                        REF_MAX_EXPERTS);
    return !l->failed && s->n_experts > 0;
}
