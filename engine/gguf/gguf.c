/* GGUF reader: from bytes to views of keys and tensors. Nothing is believed: every length, count
 * and offset is compared with what is left before it is used, in the form that cannot wrap. */
#include "engine/gguf/gguf_internal.h"

#include <stdlib.h>
#include <string.h>

/*  magic "GGUF"  u32 version  u64 n_tensors  u64 n_kv
 *  n_kv      x { string key, u32 type, value }         string = u64 length, bytes
 *  n_tensors x { string name, u32 n_dims, u64 dims[n_dims], u32 type, u64 offset }
 *  zeros up to a multiple of the alignment, then the data: offset counts from here
 */
enum { HEADER_BYTES = 24, MIN_KV_BYTES = 8 + 1 + 4 + 1, MIN_INFO_BYTES = 8 + 4 + 4 + 8 };

struct cursor {
    struct span in;
    size_t pos; /* <= in.size */
    struct err *e;
};

static size_t left(const struct cursor *c)
{
    return c->in.size - c->pos;
}

/* n bytes, or an error that says what for. */
static const uint8_t *take(struct cursor *c, size_t n, const char *what)
{
    if (n > left(c)) {
        fail(c->e, ST_FORMAT, "byte %zu: %s needs %zu bytes, %zu are left", c->pos, what, n,
             left(c));
        return NULL;
    }
    const uint8_t *p = c->in.data + c->pos;
    c->pos += n;
    return p;
}

static uint64_t load_le(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static bool take_u32(struct cursor *c, const char *what, uint32_t *out)
{
    const uint8_t *p = take(c, 4, what);
    if (p) *out = (uint32_t)load_le(p, 4);
    return p != NULL;
}

static bool take_u64(struct cursor *c, const char *what, uint64_t *out)
{
    const uint8_t *p = take(c, 8, what);
    if (p) *out = load_le(p, 8);
    return p != NULL;
}

/* A length, then as many bytes. */
static bool take_str(struct cursor *c, const char *what, struct gguf_str *out)
{
    size_t at = c->pos;
    uint64_t len;
    if (!take_u64(c, what, &len)) return false;
    if (len > GGUF_MAX_COUNT || len > left(c)) {
        fail(c->e, ST_FORMAT, "byte %zu: %s of %llu bytes, %zu are left", at, what,
             (unsigned long long)len, left(c));
        return false;
    }
    *out = (struct gguf_str){(const char *)c->in.data + c->pos, (size_t)len};
    c->pos += (size_t)len;
    return true;
}

bool gguf_str_is(struct gguf_str s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

int gguf_show(struct gguf_str s)
{
    return s.len < 80 ? (int)s.len : 80;
}

bool gguf_round_up(uint64_t n, uint64_t alignment, uint64_t *out)
{
    if (n > UINT64_MAX - (alignment - 1)) return false;
    *out = (n + alignment - 1) & ~(alignment - 1);
    return true;
}

/* ---- header ---- */

static enum status parse_version(struct cursor *c, struct gguf *g)
{
    const uint8_t *magic = take(c, 4, "the magic \"GGUF\"");
    if (!magic) return ST_FORMAT;
    if (memcmp(magic, "GGUF", 4) != 0)
        return fail(c->e, ST_FORMAT, "byte 0: not a GGUF file: it begins with %02x %02x %02x %02x",
                    magic[0], magic[1], magic[2], magic[3]);
    if (!take_u32(c, "the version", &g->version)) return ST_FORMAT;
    if (g->version != 0 && (g->version & 0xffff) == 0)
        return fail(c->e, ST_FORMAT,
                    "byte 4: version %u is a byte-swapped one: this is a big-endian file, only "
                    "little-endian ones are read",
                    g->version);
    if (g->version < 2 || g->version > 3)
        return fail(c->e, ST_FORMAT, "byte 4: version %u; 2 and 3 are read", g->version);
    return ST_OK;
}

static bool take_count(struct cursor *c, const char *what, size_t record, size_t *out)
{
    size_t at = c->pos;
    uint64_t n;
    if (!take_u64(c, what, &n)) return false;
    if (n > left(c) / record) {
        fail(c->e, ST_FORMAT, "byte %zu: %s is %llu, but the %zu bytes left hold at most %zu", at,
             what, (unsigned long long)n, left(c), left(c) / record);
        return false;
    }
    *out = (size_t)n;
    return true;
}

/* ---- keys and values ---- */

enum status gguf_check_name(const char *what, struct gguf_str name, size_t max, struct err *e)
{
    if (name.len == 0) return fail(e, ST_FORMAT, "empty %s", what);
    if (name.len > max)
        return fail(e, ST_FORMAT, "%s of %zu bytes, at most %zu are allowed: %.*s...", what,
                    name.len, max, 32, name.data);
    const char *nul = memchr(name.data, 0, name.len);
    if (nul)
        return fail(e, ST_FORMAT, "%s %.*s holds a NUL at its byte %zu", what, gguf_show(name),
                    name.data, (size_t)(nul - name.data));
    return ST_OK;
}

static bool skip_strings(struct cursor *c, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        struct gguf_str s;
        if (!take_str(c, "a string", &s)) return false;
    }
    return true;
}

/* The elements, after type and count are known. */
static enum status parse_elements(struct cursor *c, struct gguf_kv *kv, size_t count_at)
{
    size_t each = kv->elem == GGUF_STRING ? 8 : gguf_type_size(kv->elem); /* at the least */
    if (kv->count > GGUF_MAX_COUNT || kv->count > left(c) / each)
        return fail(c->e, ST_FORMAT, "byte %zu: key %.*s: %llu values of %s, %zu bytes are left",
                    count_at, gguf_show(kv->key), kv->key.data, (unsigned long long)kv->count,
                    gguf_type_name(kv->elem), left(c));
    size_t start = c->pos;
    kv->data = c->in.data + start;
    if (kv->elem == GGUF_STRING) {
        if (!skip_strings(c, kv->count))
            return fail_prefix(c->e, "key %.*s", gguf_show(kv->key), kv->key.data);
    } else {
        c->pos += (size_t)kv->count * each;
    }
    kv->bytes = c->pos - start;
    return ST_OK;
}

static enum status parse_value(struct cursor *c, struct gguf_kv *kv)
{
    size_t at = c->pos;
    uint32_t type, elem;
    if (!take_u32(c, "a value's type", &type)) return ST_FORMAT;
    if (type >= GGUF_TYPE_COUNT)
        return fail(c->e, ST_FORMAT, "byte %zu: key %.*s: value type %u is unknown", at,
                    gguf_show(kv->key), kv->key.data, type);
    kv->type = kv->elem = (enum gguf_type)type;
    kv->count = 1;
    if (type != GGUF_ARRAY) return parse_elements(c, kv, c->pos);

    at = c->pos;
    if (!take_u32(c, "an array's element type", &elem)) return ST_FORMAT;
    if (elem >= GGUF_TYPE_COUNT)
        return fail(c->e, ST_FORMAT, "byte %zu: key %.*s: element type %u is unknown", at,
                    gguf_show(kv->key), kv->key.data, elem);
    if (elem == GGUF_ARRAY)
        return fail(c->e, ST_FORMAT, "byte %zu: key %.*s: an array of arrays", at,
                    gguf_show(kv->key), kv->key.data);
    kv->elem = (enum gguf_type)elem;
    at = c->pos;
    if (!take_u64(c, "an array's count", &kv->count)) return ST_FORMAT;
    return parse_elements(c, kv, at);
}

static enum status parse_kv(struct cursor *c, struct gguf *g, size_t i)
{
    struct gguf_kv *kv = &g->kv[i];
    kv->offset = c->pos;
    if (!take_str(c, "a key", &kv->key)) return ST_FORMAT;
    if (gguf_check_name("key", kv->key, GGUF_MAX_KEY, c->e))
        return fail_prefix(c->e, "byte %llu", (unsigned long long)kv->offset);

    size_t first = i;
    bool found;
    if (!gguf_index_add(g->key_index, kv->key, &first, &found))
        return fail(c->e, ST_NOMEM, "no memory for an index of %zu keys", g->n_kv);
    if (found)
        return fail(c->e, ST_FORMAT, "byte %llu: key %.*s is there already, at byte %llu",
                    (unsigned long long)kv->offset, gguf_show(kv->key), kv->key.data,
                    (unsigned long long)g->kv[first].offset);
    return parse_value(c, kv);
}

enum status gguf_check_alignment(const struct gguf_kv *kv, uint64_t *out, struct err *e)
{
    if (kv->type != GGUF_U32)
        return fail(e, ST_FORMAT, "byte %llu: general.alignment is %s, it must be u32",
                    (unsigned long long)kv->offset, gguf_type_name(kv->type));
    uint64_t a = load_le(kv->data, 4);
    if (a == 0 || (a & (a - 1)) != 0 || a > GGUF_MAX_ALIGNMENT)
        return fail(e, ST_FORMAT,
                    "byte %llu: general.alignment is %llu, not a power of two up to %d",
                    (unsigned long long)kv->offset, (unsigned long long)a, GGUF_MAX_ALIGNMENT);
    *out = a;
    return ST_OK;
}

static enum status parse_metadata(struct cursor *c, struct gguf *g)
{
    g->kv = arena_alloc(&g->arena, g->n_kv, sizeof *g->kv);
    g->key_index = gguf_index_new(g->n_kv);
    if (!g->kv || !g->key_index) return fail(c->e, ST_NOMEM, "no memory for %zu keys", g->n_kv);
    for (size_t i = 0; i < g->n_kv; i++) {
        enum status st = parse_kv(c, g, i);
        if (st) return st;
    }
    g->alignment = GGUF_DEFAULT_ALIGNMENT;
    struct gguf_kv *kv = gguf_find(g, "general.alignment");
    enum status st = kv ? gguf_check_alignment(kv, &g->alignment, c->e) : ST_OK;
    if (kv) kv->used = true;
    kv = gguf_find(g, "general.architecture");
    if (!st && kv && kv->type != GGUF_STRING)
        st = fail(c->e, ST_FORMAT, "byte %llu: general.architecture is %s, it must be a string",
                  (unsigned long long)kv->offset, gguf_type_name(kv->type));
    return st;
}

/* ---- tensors ---- */

enum status gguf_tensor_measure(struct gguf_tensor *t, struct err *e)
{
    const struct type_spec *ty = t->type;
    uint64_t n = 1;
    bool none = false;
    for (uint32_t d = 0; d < GGUF_MAX_DIMS; d++) {
        if (t->dims[d] > INT64_MAX)
            return fail(e, ST_FORMAT, "dimension %u is %lld", d, (long long)t->dims[d]);
        if (t->dims[d] == 0) {
            none = true;
            continue;
        }
        if (n > INT64_MAX / t->dims[d])
            return fail(e, ST_FORMAT,
                        "dimensions %llu x %llu x %llu x %llu make 2^63 elements or more",
                        (unsigned long long)t->dims[0], (unsigned long long)t->dims[1],
                        (unsigned long long)t->dims[2], (unsigned long long)t->dims[3]);
        n *= t->dims[d];
    }
    if (t->dims[0] % ty->block_elems != 0)
        return fail(e, ST_FORMAT, "rows of %llu elements are not whole blocks of %s, which hold %u",
                    (unsigned long long)t->dims[0], ty->name, ty->block_elems);
    t->n_elems = none ? 0 : n;
    if (n / ty->block_elems > SIZE_MAX ||
        !mul_size((size_t)(n / ty->block_elems), ty->block_bytes, &t->bytes))
        return fail(e, ST_FORMAT, "%llu elements of %s take 2^64 bytes or more",
                    (unsigned long long)n, ty->name);
    if (none) t->bytes = 0;
    return ST_OK;
}

/* n_dims, dims, type and offset. */
static enum status parse_shape(struct cursor *c, const struct gguf *g, struct gguf_tensor *t)
{
    uint32_t type;
    if (!take_u32(c, "the number of dimensions", &t->n_dims)) return ST_FORMAT;
    if (t->n_dims > GGUF_MAX_DIMS)
        return fail(c->e, ST_FORMAT, "%u dimensions, at most %d are allowed", t->n_dims,
                    GGUF_MAX_DIMS);
    for (uint32_t d = 0; d < GGUF_MAX_DIMS; d++) {
        t->dims[d] = 1;
        if (d < t->n_dims && !take_u64(c, "a dimension", &t->dims[d])) return ST_FORMAT;
    }
    if (!take_u32(c, "the type", &type)) return ST_FORMAT;
    t->type = type_by_id((int32_t)type);
    if (!t->type)
        return fail(c->e, ST_FORMAT, "type %u is %s", type,
                    type < TYPE_ID_END ? "one that was removed from the format" : "unknown");
    if (!take_u64(c, "the offset", &t->offset)) return ST_FORMAT;
    enum status st = gguf_tensor_measure(t, c->e);
    if (!st && t->offset % g->alignment != 0)
        st = fail(c->e, ST_FORMAT, "offset %llu is not a multiple of the alignment %llu",
                  (unsigned long long)t->offset, (unsigned long long)g->alignment);
    return st;
}

static enum status parse_tensor(struct cursor *c, struct gguf *g, size_t i)
{
    struct gguf_tensor *t = &g->tensors[i];
    size_t at = c->pos;
    if (!take_str(c, "a tensor name", &t->name)) return ST_FORMAT;
    if (gguf_check_name("tensor name", t->name, GGUF_MAX_NAME, c->e))
        return fail_prefix(c->e, "byte %zu", at);

    size_t first = i;
    bool found;
    if (!gguf_index_add(g->name_index, t->name, &first, &found))
        return fail(c->e, ST_NOMEM, "no memory for an index of %zu tensors", g->n_tensors);
    if (found)
        return fail(c->e, ST_FORMAT, "byte %zu: tensor name %.*s is there already, as tensor %zu",
                    at, gguf_show(t->name), t->name.data, first);
    if (parse_shape(c, g, t))
        return fail_prefix(c->e, "byte %zu: tensor %.*s", at, gguf_show(t->name), t->name.data);
    return ST_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct gguf_tensor *x = *(const struct gguf_tensor *const *)a;
    const struct gguf_tensor *y = *(const struct gguf_tensor *const *)b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* Gaps and any order are fine, sharing bytes is not. */
static enum status check_overlap(const struct gguf *g, struct err *e)
{
    const struct gguf_tensor **order = alloc_array(g->n_tensors, sizeof *order);
    if (!order) return fail(e, ST_NOMEM, "no memory for %zu tensors", g->n_tensors);
    size_t n = 0;
    for (size_t i = 0; i < g->n_tensors; i++)
        if (g->tensors[i].bytes) order[n++] = &g->tensors[i];
    qsort(order, n, sizeof *order, by_offset);
    enum status st = ST_OK;
    for (size_t i = 1; i < n && !st; i++) {
        const struct gguf_tensor *a = order[i - 1], *b = order[i];
        if (b->offset - a->offset < a->bytes)
            st = fail(e, ST_FORMAT,
                      "tensors %.*s (offset %llu, %zu bytes) and %.*s (offset %llu) overlap",
                      gguf_show(a->name), a->name.data, (unsigned long long)a->offset, a->bytes,
                      gguf_show(b->name), b->name.data, (unsigned long long)b->offset);
    }
    free(order);
    return st;
}

/* Every tensor inside the file, and all of them together inside memory. */
static enum status place_tensor(struct cursor *c, const struct gguf *g, struct gguf_tensor *t,
                                bool header_only, uint64_t *sum)
{
    uint64_t padded;
    if (!gguf_round_up(t->bytes, g->alignment, &padded) || padded > UINT64_MAX - *sum ||
        t->offset > UINT64_MAX - t->bytes)
        return fail(c->e, ST_FORMAT,
                    "tensor %.*s: %zu bytes at offset %llu, after %llu bytes of others, "
                    "wrap past 2^64",
                    gguf_show(t->name), t->name.data, t->bytes, (unsigned long long)t->offset,
                    (unsigned long long)*sum);
    *sum += padded;
    if (header_only) return ST_OK;
    size_t have = c->in.size - (size_t)g->data_offset;
    if (t->offset > have || t->bytes > have - (size_t)t->offset)
        return fail(c->e, ST_FORMAT,
                    "tensor %.*s: %zu bytes at offset %llu, but the data section, at byte "
                    "%llu, holds %zu",
                    gguf_show(t->name), t->name.data, t->bytes, (unsigned long long)t->offset,
                    (unsigned long long)g->data_offset, have);
    t->data = c->in.data + g->data_offset + t->offset;
    return ST_OK;
}

static enum status parse_tensors(struct cursor *c, struct gguf *g, bool header_only)
{
    g->tensors = arena_alloc(&g->arena, g->n_tensors, sizeof *g->tensors);
    g->name_index = gguf_index_new(g->n_tensors);
    if (!g->tensors || !g->name_index)
        return fail(c->e, ST_NOMEM, "no memory for %zu tensors", g->n_tensors);
    for (size_t i = 0; i < g->n_tensors; i++) {
        enum status st = parse_tensor(c, g, i);
        if (st) return st;
    }
    g->data_offset = c->pos;
    if (g->n_tensors == 0) return ST_OK;

    if (!gguf_round_up(c->pos, g->alignment, &g->data_offset) ||
        (!header_only && g->data_offset > c->in.size))
        return fail(c->e, ST_FORMAT,
                    "byte %zu: the file ends before the data section, which begins at "
                    "byte %llu",
                    c->in.size, (unsigned long long)g->data_offset);
    uint64_t sum = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        enum status st = place_tensor(c, g, &g->tensors[i], header_only, &sum);
        if (st) return st;
    }
    return check_overlap(g, c->e);
}

enum status gguf_parse(struct gguf *out, struct span bytes, bool header_only, struct err *e)
{
    *out = (struct gguf){0};
    struct err local = {0};
    struct cursor c = {.in = bytes, .e = &local};
    enum status st = parse_version(&c, out);
    /* Counts are bounded by what is left after them: both come before the first record. */
    if (!st && left(&c) < HEADER_BYTES - 8)
        st = fail(&local, ST_FORMAT, "byte %zu: the header needs %d bytes, the file has %zu", c.pos,
                  HEADER_BYTES, bytes.size);
    if (!st && (!take_count(&c, "the number of tensors", MIN_INFO_BYTES, &out->n_tensors) ||
                !take_count(&c, "the number of keys", MIN_KV_BYTES, &out->n_kv)))
        st = local.st;
    if (!st) st = parse_metadata(&c, out);
    if (!st && out->n_tensors > left(&c) / MIN_INFO_BYTES)
        st = fail(&local, ST_FORMAT, "byte %zu: %zu bytes are left for %zu tensor infos", c.pos,
                  left(&c), out->n_tensors);
    if (!st) st = parse_tensors(&c, out, header_only);
    if (st) {
        gguf_close(out);
        fail(e, st, "%s", local.text);
    }
    return st;
}

void gguf_close(struct gguf *g)
{
    gguf_index_free(g->key_index);
    gguf_index_free(g->name_index);
    for (size_t i = 0; i < g->n_files; i++) file_close(&g->files[i]);
    arena_free(&g->arena);
    *g = (struct gguf){0};
}
