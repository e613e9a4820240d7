/* Text that grows, and the escapes of the formats that reports become; see buffer.h. */
#include "reports/buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_free(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){0};
}

void buffer_add(struct buffer *b, const char *data, size_t n)
{
    if (n + 1 > b->cap - b->n) {
        size_t cap = b->cap ? b->cap : 4096;
        while (cap - b->n < n + 1) cap *= 2;
        char *grown = b->failed ? NULL : realloc(b->data, cap);
        if (!grown) {
            b->failed = true;
            return;
        }
        b->data = grown;
        b->cap = cap;
    }
    if (n) memcpy(b->data + b->n, data, n);
    b->n += n;
    b->data[b->n] = 0;
}

void buffer_put(struct buffer *b, const char *s)
{
    buffer_add(b, s, strlen(s));
}

void buffer_print(struct buffer *b, const char *fmt, ...)
{
    char small[512], *big = small;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n >= (int)sizeof small) {
        big = malloc((size_t)n + 1);
        if (!big) {
            b->failed = true;
            return;
        }
        va_start(ap, fmt);
        vsnprintf(big, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    if (n > 0) buffer_add(b, big, (size_t)n);
    if (big != small) free(big);
}

static int add_dump(const char *data, size_t n, void *b)
{
    buffer_add(b, data, n);
    return 0;
}

void buffer_json(struct buffer *b, const json_t *j, size_t flags)
{
    if (json_dump_callback(j, add_dump, b, flags | JSON_ENCODE_ANY) != 0) b->failed = true;
}

/* ---- escapes ----------------------------------------------------------------------------- */

void buffer_xml(struct buffer *b, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '&')
            buffer_put(b, "&amp;");
        else if (c == '<')
            buffer_put(b, "&lt;");
        else if (c == '>')
            buffer_put(b, "&gt;");
        else if (c == '"')
            buffer_put(b, "&quot;");
        else if (c == '\n' || c == '\t')
            buffer_print(b, "&#%d;", c);
        else if (c < 0x20)
            buffer_put(b, "\xef\xbf\xbd");
        else if (c == 0xef && (unsigned char)s[1] == 0xbf && (unsigned char)s[2] >= 0xbe) {
            buffer_put(b, "\xef\xbf\xbd"); /* U+FFFE and U+FFFF are not XML */
            s += 2;
        } else
            buffer_add(b, s, 1);
    }
}

void buffer_markdown(struct buffer *b, const char *s)
{
    for (; *s; s++) {
        if (strchr("\\`*_{}[]<>#|~&", *s))
            buffer_print(b, "\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            buffer_put(b, " ");
        else
            buffer_add(b, s, 1);
    }
}

void buffer_code(struct buffer *b, const char *s)
{
    size_t longest = 0, n;
    for (const char *p = s; *p; p += n ? n : 1) {
        n = strspn(p, "`");
        if (n > longest) longest = n;
    }
    for (size_t i = 0; i <= longest; i++) buffer_put(b, "`");
    if (longest) buffer_put(b, " ");
    for (; *s; s++) buffer_add(b, (unsigned char)*s < 0x20 ? " " : s, 1);
    if (longest) buffer_put(b, " ");
    for (size_t i = 0; i <= longest; i++) buffer_put(b, "`");
}

void buffer_csv(struct buffer *b, const char *s)
{
    bool formula = *s && strchr("=+-@\t\r", *s) && strcmp(s, "-inf") != 0;
    if (!formula && !strpbrk(s, ",\"\r\n")) {
        buffer_put(b, s);
        return;
    }
    buffer_put(b, formula ? "\"'" : "\"");
    for (; *s; s++) {
        if (*s == '"') buffer_put(b, "\"");
        buffer_add(b, s, 1);
    }
    buffer_put(b, "\"");
}

void buffer_number(struct buffer *b, const json_t *number)
{
    if (json_is_string(number))
        buffer_put(b, json_string_value(number));
    else if (json_is_integer(number))
        buffer_print(b, "%lld", (long long)json_integer_value(number));
    else if (json_is_number(number))
        buffer_print(b, "%.4g", json_number_value(number));
    else
        buffer_put(b, "-");
}

enum status buffer_save(const struct buffer *b, const char *path, struct err *e)
{
    struct file_writer *w = NULL;
    if (b->failed) return fail(e, ST_NOMEM, "%s: no memory for it", path ? path : "output");
    if (!path) {
        if (fwrite(b->data, 1, b->n, stdout) != b->n || fflush(stdout) != 0)
            return fail(e, ST_IO, "standard output could not be written");
        return ST_OK;
    }
    enum status st = file_create(&w, path, e);
    if (st == ST_OK) st = file_write(w, b->data, b->n, e);
    if (st == ST_OK) return file_commit(w, e);
    file_abort(w);
    return st;
}
