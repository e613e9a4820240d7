/* Tokens back to text. */
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/unicode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that grow. */
struct text {
    char *s;
    size_t n, cap;
};

static enum status put(struct text *x, const char *s, size_t n, struct err *e)
{
    if (n >= x->cap - x->n) {
        size_t cap;
        if (!add_size(x->n, n, &cap) || !mul_size(cap, 2, &cap) || !add_size(cap, 64, &cap))
            return fail(e, ST_RANGE, "a text does not fit in memory");
        char *grown = realloc(x->s, cap);
        if (!grown) return fail(e, ST_NOMEM, "out of memory for a text of %zu bytes", cap);
        x->s = grown;
        x->cap = cap;
    }
    memcpy(x->s + x->n, s, n);
    x->n += n;
    x->s[x->n] = '\0';
    return ST_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

/* The byte that "<0xHH>" stands for. */
static enum status put_byte(struct text *x, struct gguf_str s, struct err *e)
{
    int hi = s.len == 6 ? hex_digit(s.data[3]) : -1, lo = s.len == 6 ? hex_digit(s.data[4]) : -1;
    if (hi < 0 || lo < 0) return ST_OK;
    char byte = (char)(unsigned char)(hi * 16 + lo);
    return put(x, &byte, 1, e);
}

/* U+2581 as a space. */
static enum status put_spaced(struct text *x, struct gguf_str s, struct err *e)
{
    enum status st = ST_OK;
    for (size_t i = 0, n; st == ST_OK && i < s.len; i += n) {
        bool space = s.len - i >= 3 && memcmp(s.data + i, "\xe2\x96\x81", 3) == 0;
        n = space ? 3 : 1;
        st = put(x, space ? " " : s.data + i, 1, e);
    }
    return st;
}

/* Characters as the bytes that they stand for. One that stands for none says so, as llama.cpp has
 * it. */
static enum status put_bytes(struct text *x, const struct tokenizer *t, struct gguf_str s,
                             struct err *e)
{
    enum status st = ST_OK;
    for (size_t i = 0; st == ST_OK && i < s.len;) {
        char utf8[4], name[32];
        uint32_t c;
        i += utf8_decode(s.data + i, s.len - i, &c);
        int byte = bpe_byte_of(t->bpe, c);
        if (byte >= 0) {
            char b = (char)(unsigned char)byte;
            st = put(x, &b, 1, e);
            continue;
        }
        size_t n = utf8_encode(c, utf8);
        int len = snprintf(name, sizeof name, "[UNK_BYTE_0x");
        for (size_t k = 0; k < n; k++)
            len += snprintf(name + len, sizeof name - (size_t)len, "%02x", (unsigned char)utf8[k]);
        st = put(x, name, (size_t)len, e);
        if (st == ST_OK) st = put(x, s.data, s.len, e);
        if (st == ST_OK) st = put(x, "]", 1, e);
    }
    return st;
}

static enum status put_piece(struct text *x, const struct tokenizer *t, int32_t id, bool special,
                             struct err *e)
{
    uint32_t attr = t->tokens[id].attr;
    struct gguf_str s = t->index.texts[id];
    if ((attr & (ATTR_CONTROL | ATTR_UNKNOWN)) && !special) return ST_OK;
    if (attr & ATTR_SPECIAL) return put(x, s.data, s.len, e);
    if (attr & ATTR_BYTE) return put_byte(x, s, e);
    if (!(attr & ATTR_NORMAL)) return ST_OK;
    return t->kind == TOKENIZER_BPE ? put_bytes(x, t, s, e) : put_spaced(x, s, e);
}

/* ---- spaces that tokenizers of old left before punctuation ----------------------------------- */

/* "x ." as "x." */
static size_t close_up_stops(char *s, size_t n)
{
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        bool stop = s[i] == '?' || s[i] == '!' || s[i] == '.' || s[i] == ',';
        if (stop && to > 0 && s[to - 1] == ' ') to--;
        s[to++] = s[i];
    }
    return to;
}

/* "x ' y" as "x'y" */
static size_t close_up_apostrophes(char *s, size_t n)
{
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\'' && to > 0 && s[to - 1] == ' ' && i + 1 < n && s[i + 1] == ' ') {
            s[to - 1] = '\'';
            i++;
        } else {
            s[to++] = s[i];
        }
    }
    return to;
}

/* "x 's" as "x's" */
static size_t close_up_contractions(char *s, size_t n)
{
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        char a = i + 1 < n ? s[i + 1] : '\0', b = i + 2 < n ? s[i + 2] : '\0';
        bool known = a == 's' || a == 'm' || ((a == 'r' || a == 'v') && b == 'e');
        if (s[i] == '\'' && known && to > 0 && s[to - 1] == ' ') to--;
        s[to++] = s[i];
    }
    return to;
}

static void clean_spaces(struct text *x)
{
    x->n = close_up_stops(x->s, x->n);
    x->n = close_up_apostrophes(x->s, x->n);
    x->n = close_up_contractions(x->s, x->n);
    x->s[x->n] = '\0';
}

/* ---- texts of tokens ------------------------------------------------------------------------- */

/* Hands over the text, or releases it if st is a failure. */
static enum status finish(struct text *x, enum status st, char **text, size_t *len)
{
    if (st != ST_OK) {
        free(x->s);
        *x = (struct text){0};
    }
    *text = x->s;
    *len = x->n;
    return st;
}

static enum status check_id(const struct tokenizer *t, int32_t id, struct err *e)
{
    if (id >= 0 && (uint32_t)id < t->n_tokens) return ST_OK;
    return fail(e, ST_RANGE, "token %d is not in the vocabulary of %u", (int)id, t->n_tokens);
}

enum status token_piece(const struct tokenizer *t, int32_t id, bool special, char **text,
                        size_t *len, struct err *e)
{
    struct text x = {0};
    enum status st = check_id(t, id, e);
    if (st == ST_OK) st = put(&x, "", 0, e);
    if (st == ST_OK) st = put_piece(&x, t, id, special, e);
    return finish(&x, st, text, len);
}

enum status tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n,
                             unsigned flags, char **text, size_t *len, struct err *e)
{
    bool drop_space = t->add_space_prefix;
    struct text x = {0};
    enum status st = put(&x, "", 0, e);
    for (size_t i = 0; st == ST_OK && i < n; i++) st = check_id(t, ids[i], e);
    if ((flags & DETOKENIZE_STRIP) && t->add_bos && n > 0 && ids[0] == t->bos) {
        drop_space = false;
        ids++;
        n--;
    }
    if ((flags & DETOKENIZE_STRIP) && t->add_eos && n > 0 && ids[n - 1] == t->eos) n--;
    for (size_t i = 0; st == ST_OK && i < n; i++) {
        st = put_piece(&x, t, ids[i], (flags & DETOKENIZE_SPECIAL) != 0, e);
        if (i == 0 && drop_space && x.n > 0 && x.s[0] == ' ') memmove(x.s, x.s + 1, x.n--);
    }
    if (st == ST_OK && t->clean_spaces) clean_spaces(&x);
    return finish(&x, st, text, len);
}

enum status detokenize(const struct tokenizer *t, const int32_t *ids, size_t n, bool special,
                       char **text, size_t *len, struct err *e)
{
    return tokenizer_decode(t, ids, n, special ? DETOKENIZE_SPECIAL : 0, text, len, e);
}
