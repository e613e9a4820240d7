/* GGUF writer: collects metadata and tensors, then writes a version 3 file. */
#include "engine/gguf/gguf_internal.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct put_kv {
    struct gguf_str key;
    enum gguf_type type, elem;
    uint64_t count;
    const uint8_t *data;
    size_t bytes;
};

struct gguf_writer {
    struct arena arena; /* keys, values, names */
    struct put_kv *kv;
    size_t n_kv, cap_kv;
    struct gguf_tensor *tensors;
    size_t n_tensors, cap_tensors;
    struct gguf_index *keys, *names;
    uint64_t alignment;
};

enum status gguf_writer_open(struct gguf_writer **out, struct err *e)
{
    *out = NULL;
    struct gguf_writer *w = alloc_array(1, sizeof *w);
    if (!w) return fail(e, ST_NOMEM, "no memory for a GGUF writer");
    w->alignment = GGUF_DEFAULT_ALIGNMENT;
    w->keys = gguf_index_new(0);
    w->names = gguf_index_new(0);
    if (w->keys && w->names) {
        *out = w;
        return ST_OK;
    }
    gguf_writer_close(w);
    return fail(e, ST_NOMEM, "no memory for a GGUF writer");
}

void gguf_writer_close(struct gguf_writer *w)
{
    if (!w) return;
    gguf_index_free(w->keys);
    gguf_index_free(w->names);
    arena_free(&w->arena);
    free(w->kv);
    free(w->tensors);
    free(w);
}

/* ---- collecting ---- */

/* The items with room for one more than n; NULL, and the old ones untouched, if there is none. */
static void *reserve(void *items, size_t *cap, size_t n, size_t size)
{
    if (n < *cap) return items;
    size_t wider = *cap ? *cap * 2 : 16, bytes;
    if (!mul_size(wider, size, &bytes)) return NULL;
    void *p = realloc(items, bytes);
    if (p) *cap = wider;
    return p;
}

/* Enters a checked name under number n, and keeps a copy of it in *name. */
static enum status enter_name(struct gguf_writer *w, struct gguf_index *x, const char *what,
                              struct gguf_str *name, size_t n, struct err *e)
{
    size_t first;
    if (gguf_index_find(x, *name, &first))
        return fail(e, ST_USAGE, "%s %.*s is put twice", what, gguf_show(*name), name->data);
    bool found;
    name->data = arena_strdup(&w->arena, name->data, name->len);
    if (!name->data || !gguf_index_add(x, *name, &n, &found))
        return fail(e, ST_NOMEM, "no memory for %zu names", n + 1);
    return ST_OK;
}

/* Checks what the reader would refuse. kv->data points at whole, little-endian values. */
static enum status put(struct gguf_writer *w, const struct gguf_kv *kv, struct err *e)
{
    enum status st = gguf_check_name("key", kv->key, GGUF_MAX_KEY, e);
    uint64_t alignment = w->alignment;
    if (!st && kv->count > GGUF_MAX_COUNT)
        st = fail(e, ST_RANGE, "key %.*s: %llu values, at most %d are allowed", gguf_show(kv->key),
                  kv->key.data, (unsigned long long)kv->count, GGUF_MAX_COUNT);
    if (!st && gguf_str_is(kv->key, "general.alignment"))
        st = gguf_check_alignment(kv, &alignment, e);
    if (!st && gguf_str_is(kv->key, "general.architecture") && kv->type != GGUF_STRING)
        st = fail(e, ST_USAGE, "general.architecture must be a string");
    if (st) return st;

    struct put_kv *room = reserve(w->kv, &w->cap_kv, w->n_kv, sizeof *w->kv);
    if (!room) return fail(e, ST_NOMEM, "no memory for %zu keys", w->n_kv + 1);
    w->kv = room;
    uint8_t *data = arena_alloc(&w->arena, kv->bytes, 1);
    if (!data) return fail(e, ST_NOMEM, "no memory for %zu bytes of metadata", kv->bytes);
    if (kv->bytes) memcpy(data, kv->data, kv->bytes);
    struct put_kv p = {kv->key, kv->type, kv->elem, kv->count, data, kv->bytes};
    st = enter_name(w, w->keys, "key", &p.key, w->n_kv, e);
    if (st) return st;
    w->kv[w->n_kv++] = p;
    w->alignment = alignment;
    return ST_OK;
}

enum status gguf_put_kv(struct gguf_writer *w, const struct gguf_kv *kv, struct err *e)
{
    return put(w, kv, e);
}

static void store_le(uint8_t *p, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n && i < sizeof v; i++) p[i] = (uint8_t)(v >> (8 * i));
}

static struct gguf_str str_of(const char *s)
{
    return (struct gguf_str){s, strlen(s)};
}

static enum status put_scalar(struct gguf_writer *w, const char *key, enum gguf_type type,
                              uint64_t bits, struct err *e)
{
    uint8_t b[8];
    size_t n = gguf_type_size(type);
    store_le(b, bits, n);
    struct gguf_kv kv = {
        .key = str_of(key), .type = type, .elem = type, .count = 1, .data = b, .bytes = n};
    return put(w, &kv, e);
}

static uint32_t bits_of(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

enum status gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v, struct err *e)
{
    return put_scalar(w, key, GGUF_U32, v, e);
}

enum status gguf_put_f32(struct gguf_writer *w, const char *key, float v, struct err *e)
{
    return put_scalar(w, key, GGUF_F32, bits_of(v), e);
}

enum status gguf_put_bool(struct gguf_writer *w, const char *key, bool v, struct err *e)
{
    return put_scalar(w, key, GGUF_BOOL, v, e);
}

/* n strings, each behind its length, as a value of the given type. */
static enum status put_strings(struct gguf_writer *w, const char *key, enum gguf_type type,
                               const char *const *v, size_t n, struct err *e)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        if (!add_size(bytes, strlen(v[i]) + 8, &bytes) || strlen(v[i]) > GGUF_MAX_COUNT)
            return fail(e, ST_RANGE, "key %s: string %zu is longer than %d bytes", key, i,
                        GGUF_MAX_COUNT);
    }
    uint8_t *data = alloc_array(bytes, 1), *p = data;
    if (!data) return fail(e, ST_NOMEM, "key %s: no memory for %zu bytes", key, bytes);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(v[i]);
        store_le(p, len, 8);
        memcpy(p + 8, v[i], len);
        p += 8 + len;
    }
    struct gguf_kv kv = {.key = str_of(key),
                         .type = type,
                         .elem = GGUF_STRING,
                         .count = n,
                         .data = data,
                         .bytes = bytes};
    enum status st = put(w, &kv, e);
    free(data);
    return st;
}

enum status gguf_put_str(struct gguf_writer *w, const char *key, const char *v, struct err *e)
{
    return put_strings(w, key, GGUF_STRING, &v, 1, e);
}

enum status gguf_put_strs(struct gguf_writer *w, const char *key, const char *const *v, size_t n,
                          struct err *e)
{
    return put_strings(w, key, GGUF_ARRAY, v, n, e);
}

/* Elements of four bytes in the host's order, which is made little-endian. */
static enum status put_words(struct gguf_writer *w, const char *key, enum gguf_type elem,
                             const void *v, size_t n, struct err *e)
{
    size_t bytes;
    uint8_t *data = mul_size(n, 4, &bytes) ? alloc_array(bytes, 1) : NULL;
    if (!data) return fail(e, ST_NOMEM, "key %s: no memory for %zu values", key, n);
    for (size_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, (const uint8_t *)v + 4 * i, sizeof word);
        store_le(data + 4 * i, word, 4);
    }
    struct gguf_kv kv = {.key = str_of(key),
                         .type = GGUF_ARRAY,
                         .elem = elem,
                         .count = n,
                         .data = data,
                         .bytes = bytes};
    enum status st = put(w, &kv, e);
    free(data);
    return st;
}

enum status gguf_put_u32s(struct gguf_writer *w, const char *key, const uint32_t *v, size_t n,
                          struct err *e)
{
    return put_words(w, key, GGUF_U32, v, n, e);
}

enum status gguf_put_i32s(struct gguf_writer *w, const char *key, const int32_t *v, size_t n,
                          struct err *e)
{
    return put_words(w, key, GGUF_I32, v, n, e);
}

enum status gguf_put_f32s(struct gguf_writer *w, const char *key, const float *v, size_t n,
                          struct err *e)
{
    return put_words(w, key, GGUF_F32, v, n, e);
}

enum status gguf_put_tensor(struct gguf_writer *w, const char *name, enum tensor_type type,
                            uint32_t n_dims, const uint64_t *dims, const void *data, struct err *e)
{
    struct gguf_tensor t = {
        .name = str_of(name), .n_dims = n_dims, .type = type_by_id(type), .data = data};
    enum status st = gguf_check_name("tensor name", t.name, GGUF_MAX_NAME, e);
    if (st) return st;
    if (n_dims > GGUF_MAX_DIMS)
        return fail(e, ST_USAGE, "tensor %s: %u dimensions, at most %d are allowed", name, n_dims,
                    GGUF_MAX_DIMS);
    if (!t.type) return fail(e, ST_USAGE, "tensor %s: type %d is not known", name, (int)type);
    for (uint32_t d = 0; d < GGUF_MAX_DIMS; d++) t.dims[d] = d < n_dims ? dims[d] : 1;
    struct err local = {0};
    st = gguf_tensor_measure(&t, &local);
    if (st) return fail(e, st, "tensor %s: %s", name, local.text);

    struct gguf_tensor *room =
        reserve(w->tensors, &w->cap_tensors, w->n_tensors, sizeof *w->tensors);
    if (!room) return fail(e, ST_NOMEM, "no memory for %zu tensors", w->n_tensors + 1);
    w->tensors = room;
    st = enter_name(w, w->names, "tensor", &t.name, w->n_tensors, e);
    if (!st) w->tensors[w->n_tensors++] = t;
    return st;
}

/* ---- writing ---- */

/* Where bytes go: to the file, or through deflate first. The first failure stays in e. */
struct sink {
    struct file_writer *file;
    bool gzip;
    z_stream z;
    uint64_t pos; /* uncompressed */
    struct err *e;
};

enum { SINK_STEP = 1 << 30 };

/* Feeds n bytes to deflate and writes what comes out; flush as of deflate. */
static enum status sink_deflate(struct sink *s, const uint8_t *data, size_t n, int flush)
{
    uint8_t out[16384];
    do {
        size_t step = n < SINK_STEP ? n : SINK_STEP;
        s->z.next_in = (z_const Bytef *)data;
        s->z.avail_in = (uInt)step;
        do {
            s->z.next_out = out;
            s->z.avail_out = sizeof out;
            deflate(&s->z, flush);
            enum status st = file_write(s->file, out, sizeof out - s->z.avail_out, s->e);
            if (st) return st;
        } while (s->z.avail_out == 0);
        data += step;
        n -= step;
    } while (n > 0);
    return ST_OK;
}

static enum status sink_bytes(struct sink *s, const void *data, size_t n)
{
    s->pos += n;
    if (n == 0) return ST_OK;
    return s->gzip ? sink_deflate(s, data, n, Z_NO_FLUSH) : file_write(s->file, data, n, s->e);
}

static enum status sink_int(struct sink *s, uint64_t v, size_t n)
{
    uint8_t b[8];
    store_le(b, v, n);
    return sink_bytes(s, b, n);
}

static enum status sink_str(struct sink *s, struct gguf_str v)
{
    enum status st = sink_int(s, v.len, 8);
    return st ? st : sink_bytes(s, v.data, v.len);
}

static enum status sink_padding(struct sink *s, uint64_t alignment)
{
    static const uint8_t zeros[4096];
    uint64_t n = (alignment - s->pos % alignment) % alignment;
    enum status st = ST_OK;
    for (; n > 0 && !st; n -= n < sizeof zeros ? n : sizeof zeros)
        st = sink_bytes(s, zeros, n < sizeof zeros ? (size_t)n : sizeof zeros);
    return st;
}

static enum status write_kv(struct sink *s, const struct put_kv *kv)
{
    enum status st = sink_str(s, kv->key);
    if (!st) st = sink_int(s, kv->type, 4);
    if (!st && kv->type == GGUF_ARRAY) {
        st = sink_int(s, kv->elem, 4);
        if (!st) st = sink_int(s, kv->count, 8);
    }
    return st ? st : sink_bytes(s, kv->data, kv->bytes);
}

static enum status write_info(struct sink *s, const struct gguf_tensor *t)
{
    enum status st = sink_str(s, t->name);
    if (!st) st = sink_int(s, t->n_dims, 4);
    for (uint32_t d = 0; d < t->n_dims && !st; d++) st = sink_int(s, t->dims[d], 8);
    if (!st) st = sink_int(s, (uint64_t)t->type->id, 4);
    return st ? st : sink_int(s, t->offset, 8);
}

/* Offsets in the order of the calls, each rounded up. */
static enum status lay_out(struct gguf_writer *w, struct err *e)
{
    uint64_t at = 0;
    for (size_t i = 0; i < w->n_tensors; i++) {
        struct gguf_tensor *t = &w->tensors[i];
        t->offset = at;
        if (t->bytes > UINT64_MAX - at || !gguf_round_up(at + t->bytes, w->alignment, &at))
            return fail(e, ST_RANGE, "tensor %.*s: %zu bytes do not fit behind the others",
                        gguf_show(t->name), t->name.data, t->bytes);
    }
    return ST_OK;
}

static enum status write_all(const struct gguf_writer *w, struct sink *s)
{
    enum status st = sink_bytes(s, "GGUF", 4);
    if (!st) st = sink_int(s, 3, 4);
    if (!st) st = sink_int(s, w->n_tensors, 8);
    if (!st) st = sink_int(s, w->n_kv, 8);
    for (size_t i = 0; i < w->n_kv && !st; i++) st = write_kv(s, &w->kv[i]);
    for (size_t i = 0; i < w->n_tensors && !st; i++) st = write_info(s, &w->tensors[i]);
    if (w->n_tensors == 0) return st;
    if (!st) st = sink_padding(s, w->alignment);
    for (size_t i = 0; i < w->n_tensors && !st; i++) {
        st = sink_bytes(s, w->tensors[i].data, w->tensors[i].bytes);
        if (!st) st = sink_padding(s, w->alignment);
    }
    return st;
}

enum status gguf_writer_save(struct gguf_writer *w, const char *path, bool gzip, struct err *e)
{
    struct err local = {0};
    struct sink s = {.gzip = gzip, .e = &local};
    enum status st = lay_out(w, &local);
    if (st) return fail(e, st, "%s: %s", path, local.text);
    st = file_create(&s.file, path, e);
    if (st) return st;
    /* 31: a gzip header, whose time stamp zlib leaves at zero. */
    if (gzip && deflateInit2(&s.z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY) != Z_OK) {
        file_abort(s.file);
        return fail(e, ST_NOMEM, "%s: no memory to compress", path);
    }
    st = write_all(w, &s);
    if (gzip) {
        if (!st) st = sink_deflate(&s, (const uint8_t *)"", 0, Z_FINISH);
        deflateEnd(&s.z);
    }
    if (st)
        file_abort(s.file);
    else
        st = file_commit(s.file, &local);
    return st ? fail(e, st, "%s", local.text) : ST_OK;
}
