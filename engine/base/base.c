/* Errors, checked sizes, memory and the clock: the parts of base.h that need no file and no
 * thread. */
#include "engine/base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Length of the UTF-8 sequence at s (n bytes left), 0 if it is none or a control character. */
static size_t printable_length(const unsigned char *s, size_t n)
{
    unsigned char c = s[0];
    if (c < 0x80) return c >= 0x20 && c != 0x7f;
    size_t len = c >= 0xc2 && c <= 0xdf   ? 2
                 : (c & 0xf0) == 0xe0     ? 3
                 : c >= 0xf0 && c <= 0xf4 ? 4
                                          : 0;
    if (len == 0 || len > n) return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if (c == 0xc2 && s[1] < 0xa0) return 0; /* C1 controls */
    if (c == 0xe0 && s[1] < 0xa0) return 0; /* overlong */
    if (c == 0xed && s[1] > 0x9f) return 0; /* surrogates */
    if (c == 0xf0 && s[1] < 0x90) return 0; /* overlong */
    if (c == 0xf4 && s[1] > 0x8f) return 0; /* above U+10FFFF */
    return len;
}

/* Messages quote names out of files: whatever those hold, a message stays one line of UTF-8. */
static void clean_text(char *text)
{
    unsigned char *s = (unsigned char *)text;
    size_t n = strlen(text);
    for (size_t i = 0; i < n;) {
        size_t len = printable_length(s + i, n - i);
        if (len == 0) {
            s[i] = '?';
            len = 1;
        }
        i += len;
    }
}

enum status fail(struct err *e, enum status st, const char *fmt, ...)
{
    if (!e || e->st != ST_OK) return st;
    e->st = st;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    clean_text(e->text);
    return st;
}

enum status fail_prefix(struct err *e, const char *fmt, ...)
{
    if (!e || e->st == ST_OK) return e ? ST_OK : ST_FORMAT;
    char prefix[sizeof e->text], rest[sizeof e->text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    memcpy(rest, e->text, sizeof rest);

    /* A long prefix (a path) gives way from its front, so that the reason is not lost. */
    size_t room = sizeof e->text - 1 - 2, reason = strlen(rest), keep = strlen(prefix);
    size_t for_prefix = reason < room ? room - reason : 0;
    if (for_prefix < 64) for_prefix = 64;
    const char *p = prefix;
    if (keep > for_prefix) p += keep - for_prefix;
    size_t len = strlen(p);
    memcpy(e->text, p, len);
    memcpy(e->text + len, ": ", 2);
    len += 2;
    size_t tail = reason < sizeof e->text - 1 - len ? reason : sizeof e->text - 1 - len;
    memcpy(e->text + len, rest, tail);
    e->text[len + tail] = '\0';
    clean_text(e->text);
    return e->st;
}

bool mul_size(size_t a, size_t b, size_t *out)
{
    if (b != 0 && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}

bool add_size(size_t a, size_t b, size_t *out)
{
    if (a > SIZE_MAX - b) return false;
    *out = a + b;
    return true;
}

void *alloc_array(size_t count, size_t size)
{
    if (count == 0 || size == 0) return calloc(1, 1);
    return calloc(count, size);
}

/* ---- arena ---- */

enum { ARENA_ALIGN = 64, ARENA_CHUNK = 64 * 1024 };

struct arena_chunk {
    struct arena_chunk *next;
    uint8_t *data; /* aligned, inside the same allocation */
    size_t size, used;
};

static struct arena_chunk *chunk_new(size_t size)
{
    size_t total;
    if (!add_size(size, sizeof(struct arena_chunk) + ARENA_ALIGN, &total)) return NULL;
    struct arena_chunk *c = calloc(1, total);
    if (!c) return NULL;
    uintptr_t start = (uintptr_t)(c + 1);
    c->data = (uint8_t *)(c + 1) + (ARENA_ALIGN - start % ARENA_ALIGN) % ARENA_ALIGN;
    c->size = size;
    return c;
}

void *arena_alloc(struct arena *a, size_t count, size_t size)
{
    size_t bytes;
    if (!mul_size(count, size, &bytes) || !add_size(bytes, ARENA_ALIGN, &bytes)) return NULL;
    bytes -= bytes % ARENA_ALIGN; /* zero bytes still take a place of their own */

    struct arena_chunk *c = a->chunks;
    if (c && bytes <= c->size - c->used) {
        void *p = c->data + c->used;
        c->used += bytes;
        return p;
    }
    bool own = bytes > ARENA_CHUNK / 4;
    struct arena_chunk *fresh = chunk_new(own ? bytes : ARENA_CHUNK);
    if (!fresh) return NULL;
    fresh->used = bytes;
    if (own && c) { /* behind the head, whose room stays in use */
        fresh->next = c->next;
        c->next = fresh;
    } else {
        fresh->next = c;
        a->chunks = fresh;
    }
    return fresh->data;
}

char *arena_strdup(struct arena *a, const char *s, size_t len)
{
    size_t bytes;
    if (!add_size(len, 1, &bytes)) return NULL;
    char *p = arena_alloc(a, bytes, 1);
    if (p && len) memcpy(p, s, len);
    return p;
}

void arena_free(struct arena *a)
{
    for (struct arena_chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    a->chunks = NULL;
}

double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
