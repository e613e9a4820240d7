/* Texts from users and files; see text.h. */
#define _XOPEN_SOURCE 700 /* wcwidth */
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

/* What may follow a lead byte (table 3-7 of the Unicode Standard): how many bytes there are, and
 * the range of the first of them. */
static unsigned sequence_of(unsigned lead, unsigned *low, unsigned *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead < 0x80) return 1;
    if (lead < 0xC2) return 0;
    if (lead < 0xE0) return 2;
    if (lead == 0xE0) *low = 0xA0;
    if (lead == 0xED) *high = 0x9F;
    if (lead < 0xF0) return 3;
    if (lead == 0xF0) *low = 0x90;
    if (lead == 0xF4) *high = 0x8F;
    return lead < 0xF5 ? 4 : 0;
}

size_t text_valid(const char *s, size_t len, bool *cut)
{
    size_t at = 0;
    if (cut) *cut = false;
    while (at < len) {
        unsigned low, high, n = sequence_of((unsigned char)s[at], &low, &high), i = 1;
        for (; i < n && at + i < len; i++) {
            unsigned c = (unsigned char)s[at + i];
            if (c < low || c > high) return at;
            low = 0x80;
            high = 0xBF;
        }
        if (n == 0) return at;
        if (i < n) {
            if (cut) *cut = true;
            return at;
        }
        at += n;
    }
    return at;
}

/* Invisible characters that reorder what stands around them. */
static bool reorders(wchar_t c)
{
    return (c >= 0x200e && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

static void escape_byte(FILE *out, unsigned char c, bool quote)
{
    if (c == '\n')
        fputs("\\n", out);
    else if (c == '\t')
        fputs("\\t", out);
    else if (c == '\r')
        fputs("\\r", out);
    else if (quote && (c == '"' || c == '\\'))
        fprintf(out, "\\%c", c);
    else if (c >= 0x20 && c < 0x7f)
        fputc(c, out);
    else
        fprintf(out, "\\x%02x", c);
}

/* A character of several bytes, or its first byte if it is none. Returns the bytes taken. */
static size_t escape_wide(FILE *out, const char *s, size_t len)
{
    static const size_t lengths[16] = {[12] = 2, [13] = 2, [14] = 3, [15] = 4};
    size_t n = lengths[(unsigned char)s[0] >> 4];
    if (n == 0 || n > len || text_valid(s, n, NULL) != n) {
        escape_byte(out, (unsigned char)s[0], false);
        return 1;
    }
    mbstate_t state = {0};
    wchar_t c;
    if (mbrtowc(&c, s, n, &state) == n && (wcwidth(c) < 0 || reorders(c)))
        fprintf(out, "\\u{%lx}", (unsigned long)c);
    else
        fwrite(s, 1, n, out);
    return n;
}

char *text_escape(const char *s, size_t len, bool quote, size_t max)
{
    char *text = NULL;
    size_t size, i = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    while (i < len && (max == 0 || i < max)) {
        unsigned char c = (unsigned char)s[i];
        if (c < 0x80) {
            escape_byte(out, c, quote);
            i++;
        } else {
            i += escape_wide(out, s + i, len - i);
        }
    }
    if (i < len) fputs("…", out);
    if (fclose(out) == 0) return text;
    free(text);
    return NULL;
}

void text_print(const char *line)
{
    char *text = text_escape(line, strlen(line), false, 0);
    puts(text ? text : "(no memory for a line)");
    free(text);
}

size_t text_columns(const char *s, size_t len)
{
    size_t columns = 0, i = 0;
    mbstate_t state = {0};
    while (i < len) {
        wchar_t c;
        size_t n = mbrtowc(&c, s + i, len - i, &state);
        if (n == 0 || n > len - i) {
            memset(&state, 0, sizeof state);
            columns++;
            i++;
            continue;
        }
        int width = wcwidth(c);
        columns += width > 0 ? (size_t)width : 0;
        i += n;
    }
    return columns;
}

enum status text_check(const char *s, size_t len, struct err *e)
{
    const size_t valid = text_valid(s, len, NULL);
    if (valid == len) return ST_OK;
    return fail(e, ST_FORMAT, "invalid UTF-8 at byte %zu: 0x%02x", valid,
                (unsigned)(uint8_t)s[valid]);
}

bool list_next(const char **list, char *out, size_t cap)
{
    const char *p = *list;
    if (!p || !*p) return false;
    const size_t n = strcspn(p, ",");
    snprintf(out, cap, "%.*s", (int)(n < cap ? n : cap - 1), p);
    *list = p + n + (p[n] == ',');
    return true;
}

bool list_has(const char *list, const char *name)
{
    const size_t n = strlen(name);
    for (const char *p = list; p && *p;) {
        const size_t len = strcspn(p, ",");
        if (len == n && strncmp(p, name, n) == 0) return true;
        p += len + (p[len] == ',');
    }
    return false;
}
