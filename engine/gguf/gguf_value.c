/* Looking up keys and tensors, and values of the kind that was asked for. */
#include "engine/gguf/gguf_internal.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} value_types[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"u8", 1},       [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2},     [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4},     [GGUF_BOOL] = {"bool", 1}, [GGUF_STRING] = {"string", 0},
    [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

const char *gguf_type_name(enum gguf_type t)
{
    return (unsigned)t < GGUF_TYPE_COUNT ? value_types[t].name : "unknown";
}

size_t gguf_type_size(enum gguf_type t)
{
    return (unsigned)t < GGUF_TYPE_COUNT ? value_types[t].size : 0;
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name)
{
    size_t i;
    struct gguf_str s = {name, strlen(name)};
    return gguf_index_find(g->name_index, s, &i) ? &g->tensors[i] : NULL;
}

struct gguf_kv *gguf_find(const struct gguf *g, const char *key)
{
    size_t i;
    struct gguf_str s = {key, strlen(key)};
    return gguf_index_find(g->key_index, s, &i) ? &g->kv[i] : NULL;
}

/* ---- elements ---- */

/* A number as the file holds it: sign and magnitude cover u64 and i64 alike. */
struct number {
    enum { NUMBER_NONE, NUMBER_INT, NUMBER_FLOAT } kind;
    bool negative;
    uint64_t magnitude;
    double real;
};

static struct number from_signed(int64_t v)
{
    struct number n = {.kind = NUMBER_INT, .negative = v < 0};
    n.magnitude = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    return n;
}

static struct number element(const struct gguf_kv *kv, uint64_t i)
{
    struct number none = {.kind = NUMBER_NONE};
    size_t size = gguf_type_size(kv->elem);
    if (size == 0 || i >= kv->count) return none;
    const uint8_t *p = kv->data + (size_t)i * size;
    uint64_t v = 0;
    for (size_t b = 0; b < size; b++) v |= (uint64_t)p[b] << (8 * b);

    uint32_t v32 = (uint32_t)v;
    float f;
    double d;
    switch (kv->elem) {
    case GGUF_I8:
        return from_signed((int8_t)v);
    case GGUF_I16:
        return from_signed((int16_t)v);
    case GGUF_I32:
        return from_signed((int32_t)v32);
    case GGUF_I64:
        return from_signed((int64_t)v);
    case GGUF_F32:
        memcpy(&f, &v32, sizeof f);
        return (struct number){.kind = NUMBER_FLOAT, .real = (double)f};
    case GGUF_F64:
        memcpy(&d, &v, sizeof d);
        return (struct number){.kind = NUMBER_FLOAT, .real = d};
    case GGUF_BOOL:
        return (struct number){.kind = NUMBER_INT, .magnitude = v != 0};
    default:
        return (struct number){.kind = NUMBER_INT, .magnitude = v};
    }
}

static bool number_i64(struct number n, int64_t *out)
{
    if (n.kind != NUMBER_INT) return false;
    if (n.negative) {
        if (n.magnitude > (uint64_t)1 << 63) return false;
        *out = n.magnitude == (uint64_t)1 << 63 ? INT64_MIN : -(int64_t)n.magnitude;
        return true;
    }
    if (n.magnitude > INT64_MAX) return false;
    *out = (int64_t)n.magnitude;
    return true;
}

bool gguf_value_f64(struct gguf_kv *kv, uint64_t i, double *out)
{
    struct number n = element(kv, i);
    if (n.kind == NUMBER_NONE) return false;
    kv->used = true;
    *out = n.kind == NUMBER_FLOAT ? n.real
           : n.negative           ? -(double)n.magnitude
                                  : (double)n.magnitude;
    return true;
}

bool gguf_value_i64(struct gguf_kv *kv, uint64_t i, int64_t *out)
{
    if (!number_i64(element(kv, i), out)) return false;
    kv->used = true;
    return true;
}

/* The reader has walked these strings, so their lengths are inside the value. */
bool gguf_value_strings(struct gguf_kv *kv, struct gguf_str *out)
{
    if (kv->elem != GGUF_STRING) return false;
    const uint8_t *p = kv->data;
    for (uint64_t i = 0; i < kv->count; i++) {
        uint64_t len = 0;
        for (size_t b = 0; b < 8; b++) len |= (uint64_t)p[b] << (8 * b);
        out[i] = (struct gguf_str){(const char *)p + 8, (size_t)len};
        p += 8 + len;
    }
    kv->used = true;
    return true;
}

/* ---- by key ---- */

/* The scalar of a key, or NULL after recording why not. */
static struct gguf_kv *scalar(const struct gguf *g, const char *key, const char *want,
                              struct err *e)
{
    struct gguf_kv *kv = gguf_find(g, key);
    if (!kv) {
        fail(e, ST_FORMAT, "key %s is missing (%s)", key, want);
        return NULL;
    }
    if (kv->type == GGUF_ARRAY) {
        fail(e, ST_FORMAT, "key %s is an array of %llu %s, where %s is expected", key,
             (unsigned long long)kv->count, gguf_type_name(kv->elem), want);
        return NULL;
    }
    return kv;
}

static enum status fail_kind(const struct gguf_kv *kv, const char *key, const char *want,
                             struct err *e)
{
    struct number n = element(kv, 0);
    if (n.kind == NUMBER_INT)
        return fail(e, ST_FORMAT, "key %s is %s%llu (%s), where %s is expected", key,
                    n.negative ? "-" : "", (unsigned long long)n.magnitude,
                    gguf_type_name(kv->type), want);
    if (n.kind == NUMBER_FLOAT)
        return fail(e, ST_FORMAT, "key %s is %g (%s), where %s is expected", key, n.real,
                    gguf_type_name(kv->type), want);
    return fail(e, ST_FORMAT, "key %s is a %s, where %s is expected", key, gguf_type_name(kv->type),
                want);
}

enum status gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out, struct err *e)
{
    static const char want[] = "an integer from 0 to 4294967295";
    int64_t v;
    struct gguf_kv *kv = scalar(g, key, want, e);
    if (!kv) return ST_FORMAT;
    if (kv->type == GGUF_BOOL || !number_i64(element(kv, 0), &v) || v < 0 || v > UINT32_MAX)
        return fail_kind(kv, key, want, e);
    kv->used = true;
    *out = (uint32_t)v;
    return ST_OK;
}

enum status gguf_get_i64(const struct gguf *g, const char *key, int64_t *out, struct err *e)
{
    static const char want[] = "an integer of 64 bits with a sign";
    struct gguf_kv *kv = scalar(g, key, want, e);
    if (!kv) return ST_FORMAT;
    if (kv->type == GGUF_BOOL || !number_i64(element(kv, 0), out))
        return fail_kind(kv, key, want, e);
    kv->used = true;
    return ST_OK;
}

enum status gguf_get_f64(const struct gguf *g, const char *key, double *out, struct err *e)
{
    static const char want[] = "a float";
    struct gguf_kv *kv = scalar(g, key, want, e);
    if (!kv) return ST_FORMAT;
    struct number n = element(kv, 0);
    if (n.kind != NUMBER_FLOAT) return fail_kind(kv, key, want, e);
    kv->used = true;
    *out = n.real;
    return ST_OK;
}

enum status gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct err *e)
{
    static const char want[] = "a bool";
    int64_t v;
    struct gguf_kv *kv = scalar(g, key, want, e);
    if (!kv) return ST_FORMAT;
    if (!number_i64(element(kv, 0), &v) || v < 0 || v > 1) return fail_kind(kv, key, want, e);
    kv->used = true;
    *out = v == 1;
    return ST_OK;
}

enum status gguf_get_str(const struct gguf *g, const char *key, struct gguf_str *out, struct err *e)
{
    static const char want[] = "a string";
    struct gguf_kv *kv = scalar(g, key, want, e);
    if (!kv) return ST_FORMAT;
    if (!gguf_value_strings(kv, out)) return fail_kind(kv, key, want, e);
    return ST_OK;
}
