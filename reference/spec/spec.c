/* The fact tables as arrays, and look-ups in them. */
#include "spec.h"

#include <strings.h>
#include <string.h>

static const struct type_spec types[TYPE_ID_END] = {
#define TYPE(e, num, nm, c, elems, bytes, u, a)                                                    \
    [num] = {.id = TYPE_##e,                                                                       \
             .name = #nm,                                                                          \
             .c_name = #c,                                                                         \
             .block_elems = elems,                                                                 \
             .block_bytes = bytes,                                                                 \
             .use = USE_##u,                                                                       \
             .act = TYPE_##a},
#include "types.def"
#undef TYPE
};

const struct op_spec op_table[OP_COUNT] = {
#define OP(nm, args, ty, cls)                                                                      \
    [OP_##nm] = {.op = OP_##nm, .name = #nm, .types = OP_##ty, .tol = TOL_##cls},
#include "ops.def"
#undef OP
};

const struct site_spec site_table[SITE_COUNT] = {
#define SITE(e, nm, llama, sc, w)                                                                  \
    [SITE_##e] = {.site = SITE_##e,                                                                \
                  .name = #nm,                                                                     \
                  .llama_name = #llama,                                                            \
                  .scope = SITE_##sc,                                                              \
                  .width = WIDTH_##w},
#include "sites.def"
#undef SITE
};

const char *const architecture_names[ARCHITECTURE_COUNT] = {
#define ARCH(e, c_name, name) [ARCHITECTURE_##e] = name,
#include "archs.def"
#undef ARCH
};

const struct type_spec *type_by_id(int64_t id)
{
    if (id < 0 || id >= TYPE_ID_END || !types[id].name) return NULL;
    return &types[id];
}

const struct type_spec *type_by_name(const char *name)
{
    for (const struct type_spec *t = type_next(NULL); t; t = type_next(t))
        if (strcasecmp(t->name, name) == 0) return t;
    return NULL;
}

const struct type_spec *type_next(const struct type_spec *t)
{
    for (int64_t id = t ? (int64_t)t->id + 1 : 0; id < TYPE_ID_END; id++)
        if (types[id].name) return &types[id];
    return NULL;
}

bool type_decodes(const struct type_spec *t)
{
    return t->use != USE_L;
}

size_t type_bytes(const struct type_spec *t, size_t n)
{
    return n / t->block_elems * t->block_bytes;
}

const struct op_spec *op_by_name(const char *name)
{
    for (int i = 0; i < OP_COUNT; i++)
        if (strcmp(op_table[i].name, name) == 0) return &op_table[i];
    return NULL;
}
