/* Type mixes: looks up mixes.def. */
#include "models/mix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum when { ALWAYS, FIRST, FRACTION, MORE_BITS, GQA, EXPERTS, LAYERS_GQA };

struct rule {
    const char *mix, *role;
    enum when when;
    uint32_t n;
    enum tensor_type type;
};

#define FILE_TYPE(type, number)
#define MIX(name, base, number)
#define RULE(mix, role, when, n, type)
#define FALLBACK(type, other)
#define KEEP(text)

static const struct rule rules[] = {
#undef RULE
#define RULE(mix, role, when, n, type) {#mix, #role, when, n, TYPE_##type},
#include "models/mixes.def"
#undef RULE
#define RULE(mix, role, when, n, type)
};

static const struct mix mixes[] = {
#undef MIX
#define MIX(mix_name, mix_base, number)                                                            \
    {.name = #mix_name, .base = TYPE_##mix_base, .file_type = number},
#include "models/mixes.def"
#undef MIX
#define MIX(name, base, number)
};

static const struct {
    enum tensor_type type;
    int number;
} file_types[] = {
#undef FILE_TYPE
#define FILE_TYPE(type, number) {TYPE_##type, number},
#include "models/mixes.def"
#undef FILE_TYPE
#define FILE_TYPE(type, number)
};

static const struct {
    enum tensor_type type, other;
} fallbacks[] = {
#undef FALLBACK
#define FALLBACK(type, other) {TYPE_##type, TYPE_##other},
#include "models/mixes.def"
#undef FALLBACK
#define FALLBACK(type, other)
};

static const char *const kept[] = {
#undef KEEP
#define KEEP(text) text,
#include "models/mixes.def"
};

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void list_names(char *text, size_t cap)
{
    size_t at = 0;
    *text = 0;
    for (const struct type_spec *t = type_next(NULL); t && at < cap; t = type_next(t)) {
        if (t->use != USE_W) continue;
        at += (size_t)snprintf(text + at, cap - at, "%s ", t->name);
    }
    for (size_t i = 0; i < COUNT(mixes) && at < cap; i++) {
        const char *prefix = type_by_name(mixes[i].name) ? "mix:" : "";
        const char *blank = i + 1 < COUNT(mixes) ? " " : "";
        at += (size_t)snprintf(text + at, cap - at, "%s%s%s", prefix, mixes[i].name, blank);
    }
}

enum status mix_find(struct mix *out, const char *name, struct err *e)
{
    bool only_mix = strncasecmp(name, "mix:", 4) == 0;
    const struct type_spec *t = only_mix ? NULL : type_by_name(name);
    if (t && t->use == USE_W) {
        *out = (struct mix){.name = t->name, .base = t->id, .pure = true};
        for (size_t i = 0; i < COUNT(file_types); i++) {
            if (file_types[i].type == t->id) out->file_type = file_types[i].number;
        }
        return ST_OK;
    }
    for (size_t i = 0; i < COUNT(mixes); i++) {
        if (strcasecmp(mixes[i].name, name + (only_mix ? 4 : 0)) == 0) {
            *out = mixes[i];
            return ST_OK;
        }
    }
    char names[480];
    list_names(names, sizeof names);
    return fail(e, ST_USAGE, "unknown type '%s'; known: %s", name, names);
}

/* An integer of the architecture; otherwise 0. An array counts by its largest element. */
static uint32_t number_of(const struct gguf *g, const struct gguf_str *arch, const char *key)
{
    char full[128];
    snprintf(full, sizeof full, "%.*s.%s", (int)arch->len, arch->data, key);
    struct gguf_kv *kv = gguf_find(g, full);
    int64_t best = 0, v;
    for (uint64_t i = 0; kv && i < kv->count && gguf_value_i64(kv, i, &v); i++) {
        if (v > best && v <= UINT32_MAX) best = v;
    }
    return (uint32_t)best;
}

enum status mix_fit(struct mix *m, const struct gguf *g, struct err *e)
{
    struct gguf_str arch;
    m->has_output = gguf_find_tensor(g, "output.weight") != NULL;
    if (m->pure) return ST_OK;
    enum status st = gguf_get_str(g, "general.architecture", &arch, e);
    if (st != ST_OK) return st;
    if (arch.len == 6 && memcmp(arch.data, "falcon", 6) == 0) {
        return fail(e, ST_UNSUPPORTED, "mix %s is not known for the architecture falcon", m->name);
    }
    m->n_layers = number_of(g, &arch, "block_count");
    m->n_heads = number_of(g, &arch, "attention.head_count");
    m->n_kv_heads = number_of(g, &arch, "attention.head_count_kv");
    m->n_experts = number_of(g, &arch, "expert_count");
    if (m->n_kv_heads == 0) m->n_kv_heads = m->n_heads;
    return ST_OK;
}

static bool holds(const struct rule *r, const struct mix *m, uint32_t layer)
{
    uint32_t n = m->n_layers, eighth = n / 8;
    switch (r->when) {
    case ALWAYS:
        return true;
    case FIRST:
        return layer < r->n;
    case FRACTION:
        return layer < n / r->n;
    case MORE_BITS:
        return layer < eighth || layer >= 7 * n / 8 || (layer - eighth) % 3 == 2;
    case GQA:
        return m->n_kv_heads > 0 && m->n_heads / m->n_kv_heads >= r->n;
    case EXPERTS:
        return m->n_experts == r->n;
    case LAYERS_GQA:
        return n == r->n && m->n_heads != m->n_kv_heads;
    }
    return false;
}

/* True for "ffn_down.weight", "ffn_down_exps.weight" and the like when role is "ffn_down". */
static bool has_role(const char *part, const char *role)
{
    size_t n = strlen(role);
    if (strncmp(part, role, n) != 0) return false;
    return part[n] == '.' || strncmp(part + n, "_exps.", 6) == 0 ||
           strncmp(part + n, "_shexp.", 7) == 0;
}

static enum tensor_type mixed_type(const struct mix *m, const char *name)
{
    bool output = strcmp(name, "output.weight") == 0 ||
                  (!m->has_output && strcmp(name, "token_embd.weight") == 0);
    uint32_t layer = 0;
    const char *part = name;
    if (strncmp(name, "blk.", 4) == 0) {
        char *end;
        layer = (uint32_t)strtoul(name + 4, &end, 10);
        part = *end == '.' ? end + 1 : end;
    }
    for (size_t i = 0; i < COUNT(rules); i++) {
        const struct rule *r = &rules[i];
        if (strcmp(r->mix, m->name) != 0) continue;
        bool meant =
            strcmp(r->role, "output") == 0 ? output : part != name && has_role(part, r->role);
        if (meant && holds(r, m, layer)) return r->type;
    }
    return m->base;
}

static bool fills(enum tensor_type t, uint64_t row)
{
    return row % type_by_id((int64_t)t)->block_elems == 0;
}

enum tensor_type mix_type(const struct mix *m, const char *name, uint32_t n_dims, uint64_t row,
                          enum tensor_type from)
{
    static const char suffix[] = ".weight";
    size_t len = strlen(name), n_suffix = sizeof suffix - 1;
    const struct type_spec *spec = type_by_id((int64_t)from);
    if (n_dims < 2 || len < n_suffix || strcmp(name + len - n_suffix, suffix) != 0) return from;
    if (!spec || spec->use != USE_W) return from;
    for (size_t i = 0; i < COUNT(kept); i++) {
        if (strstr(name, kept[i])) return from;
    }
    enum tensor_type to = m->pure ? m->base : mixed_type(m, name);
    for (size_t i = 0; i < COUNT(fallbacks) && !fills(to, row); i++) {
        if (fallbacks[i].type != to) continue;
        to = fallbacks[i].other;
        break;
    }
    return fills(to, row) ? to : TYPE_F16;
}
