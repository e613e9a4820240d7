/* Writing a variant of a model; see variants.h. */
#include "conformance/variants.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A tensor on its way into the file. */
struct piece {
    char name[GGUF_MAX_NAME + 1];
    uint64_t dims[4];
    uint32_t n_dims;
    enum tensor_type type;
    const uint8_t *data;
};

enum { MAX_PIECES = 1024 };

struct pieces {
    struct test *t;
    struct piece at[MAX_PIECES];
    size_t n;
};

static struct piece *find(struct pieces *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->at[i].name, name) == 0) return &p->at[i];
    return NULL;
}

static void drop(struct pieces *p, struct piece *x)
{
    *x = p->at[--p->n];
}

static struct piece *add(struct pieces *p, const char *name)
{
    if (!test_check(p->t, p->n < MAX_PIECES, "more than %d tensors", MAX_PIECES)) return NULL;
    struct piece *x = &p->at[p->n++];
    *x = (struct piece){.dims = {1, 1, 1, 1}, .n_dims = 1, .type = TYPE_F32};
    snprintf(x->name, sizeof x->name, "%s", name);
    return x;
}

/* Bytes of one step along a dimension. */
static size_t step_bytes(const struct piece *x, uint32_t dim)
{
    size_t n = type_bytes(type_by_id(x->type), dim == 0 ? 1 : x->dims[0]);
    for (uint32_t d = 1; d < dim; d++) n *= x->dims[d];
    return n;
}

/* Part [first, first + n) of the last dimension as a tensor of its own. */
static void cut(struct pieces *p, const struct piece *x, const char *name, uint64_t first,
                uint64_t n)
{
    const struct piece from = *x;
    struct piece *to = add(p, name);
    if (!to) return;
    const uint32_t last = from.n_dims - 1;
    memcpy(to->dims, from.dims, sizeof to->dims);
    to->type = from.type;
    to->n_dims = from.n_dims;
    to->dims[last] = n;
    to->data = from.data + first * step_bytes(&from, last);
}

/* Parts joined along dimension `dim`, matrix by matrix; they leave the list. */
static void join(struct pieces *p, const char *const *names, size_t n, const char *name,
                 uint32_t dim)
{
    struct piece parts[3];
    size_t row = 0, total = 1;
    for (size_t i = 0; i < n; i++) {
        struct piece *x = find(p, names[i]);
        if (!x) return;
        parts[i] = *x;
        row += step_bytes(x, dim) * x->dims[dim];
    }
    for (uint32_t d = dim + 1; d < 4; d++) total *= parts[0].dims[d];
    uint8_t *bytes = test_alloc(p->t, total, row), *at = bytes;
    struct piece *to = add(p, name);
    if (!bytes || !to) return;
    *to = parts[0];
    snprintf(to->name, sizeof to->name, "%s", name);
    for (size_t m = 0; m < total; m++)
        for (size_t i = 0; i < n; i++) {
            size_t size = step_bytes(&parts[i], dim) * parts[i].dims[dim];
            memcpy(at, parts[i].data + m * size, size);
            at += size;
        }
    for (size_t i = 1; i < n; i++) to->dims[dim] += parts[i].dims[dim];
    to->data = bytes;
    for (size_t i = 0; i < n; i++) drop(p, find(p, names[i]));
}

static void name_of(char *out, size_t cap, int layer, const char *role, const char *suffix)
{
    snprintf(out, cap, "blk.%d.%s.%s", layer, role, suffix);
}

static void fuse(struct pieces *p, int layer, const char *const *roles, size_t n, const char *role,
                 const char *suffix, uint32_t dim)
{
    char names[3][64], whole[64];
    const char *list[3];
    for (size_t i = 0; i < n; i++) {
        name_of(names[i], sizeof names[i], layer, roles[i], suffix);
        list[i] = names[i];
    }
    name_of(whole, sizeof whole, layer, role, suffix);
    join(p, list, n, whole, dim);
}

static void split_qkv(struct pieces *p, int layer, const uint32_t *rows, const char *suffix)
{
    static const char *const roles[3] = {"attn_q", "attn_k", "attn_v"};
    const uint32_t n[3] = {rows[0], rows[1], rows[1]};
    char name[64], whole[64];
    uint64_t first = 0;
    name_of(whole, sizeof whole, layer, "attn_qkv", suffix);
    if (!find(p, whole)) return;
    for (size_t i = 0; i < 3; i++) {
        name_of(name, sizeof name, layer, roles[i], suffix);
        cut(p, find(p, whole), name, first, n[i]);
        first += n[i];
    }
    drop(p, find(p, whole));
}

static void split_experts(struct pieces *p, int layer, const char *role)
{
    char name[64], whole[64];
    snprintf(whole, sizeof whole, "blk.%d.%s_exps.weight", layer, role);
    const struct piece *x = find(p, whole);
    const uint64_t n = x ? x->dims[2] : 0;
    for (uint64_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "blk.%d.%s.%d.weight", layer, role, (int)i);
        cut(p, find(p, whole), name, i, 1);
    }
    if (x) drop(p, find(p, whole));
}

static void lay_out(struct pieces *p, const struct variant *v, int layer)
{
    static const char *const qkv[3] = {"attn_q", "attn_k", "attn_v"};
    static const char *const experts[2] = {"ffn_gate_exps", "ffn_up_exps"};
    switch (v->layout) {
    case LAYOUT_KEPT:
        return;
    case LAYOUT_FUSED_QKV:
        fuse(p, layer, qkv, 3, "attn_qkv", "weight", 1);
        fuse(p, layer, qkv, 3, "attn_qkv", "bias", 0);
        return;
    case LAYOUT_SPLIT_QKV:
        split_qkv(p, layer, v->rows, "weight");
        split_qkv(p, layer, v->rows, "bias");
        return;
    case LAYOUT_FUSED_EXPERTS:
        fuse(p, layer, experts, 2, "ffn_gate_up_exps", "weight", 1);
        return;
    case LAYOUT_SPLIT_EXPERTS:
        split_experts(p, layer, "ffn_gate");
        split_experts(p, layer, "ffn_up");
        split_experts(p, layer, "ffn_down");
    }
}

static void add_tensor(struct pieces *p, const struct variant_tensor *w, int layer)
{
    char name[64], number[12], *end = name;
    const char *mark = strstr(w->name, "%d");
    const size_t n = (size_t)w->n0 * (w->n1 ? w->n1 : 1);
    float *values = test_alloc(p->t, n, sizeof *values);
    snprintf(number, sizeof number, "%d", layer);
    if (mark)
        snprintf(end, sizeof name, "%.*s%s%s", (int)(mark - w->name), w->name, number, mark + 2);
    else
        snprintf(end, sizeof name, "%s", w->name);
    struct piece *to = add(p, name);
    if (!values || !to) return;
    for (size_t i = 0; i < n; i++)
        values[i] = w->centre + w->spread * (float)sin(1.7 * (double)(i + 1) + layer);
    to->dims[0] = w->n0;
    to->dims[1] = w->n1 ? w->n1 : 1;
    to->n_dims = w->n1 ? 2 : 1;
    to->data = (const uint8_t *)values;
}

static void collect(struct pieces *p, const struct variant *v, const struct gguf *g)
{
    int n_layers = 0, layer;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *from = &g->tensors[i];
        char name[GGUF_MAX_NAME + 1];
        snprintf(name, sizeof name, "%.*s", (int)from->name.len, from->name.data);
        const bool in_layer = sscanf(name, "blk.%d.", &layer) == 1;
        const char *role = in_layer ? strchr(name + 4, '.') + 1 : name;
        if (in_layer && layer >= n_layers) n_layers = layer + 1;
        if (v->drop && strncmp(role, v->drop, strlen(v->drop)) == 0) continue;
        struct piece *to = add(p, name);
        if (!to) return;
        memcpy(to->dims, from->dims, sizeof to->dims);
        to->n_dims = from->n_dims;
        to->type = from->type->id;
        to->data = from->data;
    }
    for (int i = 0; i < n_layers; i++) lay_out(p, v, i);
    for (size_t k = 0; k < VARIANT_TENSORS && v->tensors[k].name; k++) {
        const int n = strstr(v->tensors[k].name, "%d") ? n_layers : 1;
        for (int i = 0; i < n; i++) add_tensor(p, &v->tensors[k], i);
    }
}

static enum status put_key(struct gguf_writer *w, const char *name, const struct variant_key *k,
                           struct err *e)
{
    switch (k->kind) {
    case VARIANT_DROP:
        return ST_OK;
    case VARIANT_U32:
        return gguf_put_u32(w, name, (uint32_t)k->number, e);
    case VARIANT_F32:
        return gguf_put_f32(w, name, (float)k->number, e);
    case VARIANT_BOOL:
        return gguf_put_bool(w, name, k->number != 0, e);
    case VARIANT_TEXT:
        return gguf_put_str(w, name, k->text, e);
    case VARIANT_I32S:
        return gguf_put_i32s(w, name, k->values, k->n, e);
    }
    return ST_OK;
}

static bool is(struct gguf_str s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

/* A key of the base: its architecture's keys under the variant's name. */
static enum status keep_key(struct gguf_writer *w, const struct variant *v,
                            const struct gguf_kv *kv, struct gguf_str arch, struct err *e)
{
    char name[128];
    struct gguf_kv renamed = *kv;
    if (!v->arch) return gguf_put_kv(w, kv, e);
    if (is(kv->key, "general.architecture"))
        return gguf_put_str(w, "general.architecture", v->arch, e);
    if (kv->key.len <= arch.len || memcmp(kv->key.data, arch.data, arch.len) != 0 ||
        kv->key.data[arch.len] != '.')
        return gguf_put_kv(w, kv, e);
    snprintf(name, sizeof name, "%s%.*s", v->arch, (int)(kv->key.len - arch.len),
             kv->key.data + arch.len);
    renamed.key = (struct gguf_str){name, strlen(name)};
    return gguf_put_kv(w, &renamed, e);
}

static enum status put_keys(struct gguf_writer *w, const struct variant *v, const struct gguf *g,
                            struct err *e)
{
    struct gguf_str arch;
    char old[128], name[128];
    enum status st = gguf_get_str(g, "general.architecture", &arch, e);
    for (size_t i = 0; i < g->n_kv && st == ST_OK; i++) {
        bool replaced = false;
        for (size_t k = 0; k < VARIANT_KEYS && v->keys[k].key; k++) {
            snprintf(old, sizeof old, "%.*s.%s", (int)arch.len, arch.data, v->keys[k].key);
            replaced = replaced || is(g->kv[i].key, old);
        }
        if (!replaced) st = keep_key(w, v, &g->kv[i], arch, e);
    }
    for (size_t k = 0; k < VARIANT_KEYS && v->keys[k].key && st == ST_OK; k++) {
        if (v->arch)
            snprintf(name, sizeof name, "%s.%s", v->arch, v->keys[k].key);
        else
            snprintf(name, sizeof name, "%.*s.%s", (int)arch.len, arch.data, v->keys[k].key);
        st = put_key(w, name, &v->keys[k], e);
    }
    return st;
}

enum status variant_write(struct test *t, const struct variant *v, const struct gguf *g,
                          const char *path, struct err *e)
{
    struct gguf_writer *w = NULL;
    struct pieces *p = test_alloc(t, 1, sizeof *p);
    if (!p) return fail(e, ST_NOMEM, "out of memory for a model");
    p->t = t;
    collect(p, v, g);
    enum status st = gguf_writer_open(&w, e);
    if (st == ST_OK) st = put_keys(w, v, g, e);
    for (size_t i = 0; i < p->n && st == ST_OK; i++) {
        const struct piece *x = &p->at[i];
        st = gguf_put_tensor(w, x->name, x->type, x->n_dims, x->dims, x->data, e);
    }
    if (st == ST_OK) st = gguf_writer_save(w, path, false, e);
    gguf_writer_close(w);
    return st;
}
