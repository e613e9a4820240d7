/* See locate_npy.h; the format is that of numpy.lib.format, versions 1 to 3. */
#include "trace/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char magic[] = "\x93NUMPY";

bool npy_is(struct span bytes)
{
    return bytes.size >= 10 && memcmp(bytes.data, magic, 6) == 0;
}

/* The text behind 'key': in the header's dictionary. */
static const char *entry(const char *header, const char *key)
{
    const char *at = strstr(header, key);
    at = at ? strchr(at, ':') : NULL;
    return at ? at + 1 + strspn(at + 1, " ") : NULL;
}

static bool read_shape(const char *s, struct npy *out)
{
    size_t last = 1, all = 1;
    if (!s || *s != '(') return false;
    for (s++; *s && *s != ')';) {
        char *end;
        const unsigned long long d = strtoull(s, &end, 10);
        if (end == s || d == 0 || !mul_size(all, (size_t)d, &all)) return false;
        last = (size_t)d;
        s = end + strspn(end, ", ");
    }
    out->cols = last;
    out->rows = all / last;
    return *s == ')';
}

enum status npy_read(struct npy *out, struct span bytes, struct err *e)
{
    char header[1024];
    *out = (struct npy){0};
    if (!npy_is(bytes)) return fail(e, ST_FORMAT, "not an array of numpy");
    const uint8_t *p = bytes.data;
    const size_t start = p[6] == 1 ? 10 : 12;
    size_t len = (size_t)p[8] | (size_t)p[9] << 8;
    if (p[6] != 1 && bytes.size >= 12) len |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    if (len >= sizeof header || start + len > bytes.size)
        return fail(e, ST_FORMAT, "the header of the array takes %zu bytes", len);
    memcpy(header, p + start, len);
    header[len] = 0;
    const char *type = entry(header, "'descr'"), *order = entry(header, "'fortran_order'");
    const size_t size = type && strncmp(type, "'<f4'", 5) == 0   ? 4
                        : type && strncmp(type, "'<f8'", 5) == 0 ? 8
                                                                 : 0;
    if (!size || !order || strncmp(order, "False", 5) != 0)
        return fail(e, ST_UNSUPPORTED, "the array is not f32 or f64, little-endian, in C order");
    if (!read_shape(entry(header, "'shape'"), out))
        return fail(e, ST_FORMAT, "the array's shape makes no sense: %.80s", header);
    size_t n, need;
    if (!mul_size(out->rows, out->cols, &n) || !mul_size(n, size, &need) ||
        need > bytes.size - start - len)
        return fail(e, ST_FORMAT, "the array has %zu x %zu values, but the file ends before",
                    out->rows, out->cols);
    out->values = alloc_array(n, sizeof *out->values);
    if (!out->values) return fail(e, ST_NOMEM, "no memory for %zu values", n);
    for (size_t i = 0; i < n; i++) {
        double v;
        const uint8_t *at = p + start + len + i * size;
        if (size == 4)
            memcpy(&out->values[i], at, 4);
        else {
            memcpy(&v, at, 8);
            out->values[i] = (float)v;
        }
    }
    return ST_OK;
}
