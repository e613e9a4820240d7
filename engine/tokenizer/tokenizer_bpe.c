/* Byte-pair encoding: words by the pre-tokenizer, in each of them adjacent symbols merge by rank.
 * Byte-level vocabularies write each byte as a printable character of its own; gemma4's write
 * characters as they are, and spaces as U+2581. */
#include "engine/tokenizer/tokenizer_merge.h"
#include "engine/tokenizer/tokenizer_words.h"
#include "engine/tokenizer/unicode.h"

#include <stdlib.h>
#include <string.h>

/* Symbols are numbered: tokens by their id, texts that only merges know behind them. */
struct pair_slot {
    uint64_t pair; /* left << 32 | right */
    uint32_t rank; /* 1 + it; 0 = empty */
    int32_t id;
};

enum { N_BYTE_CHARS = 256 + 68 }; /* 68 bytes have no printable character of their own */

struct bpe {
    struct pre pre;
    struct text_index others; /* symbols that are no tokens */
    struct pair_slot *pairs;  /* in the arena, as all below */
    uint64_t pair_mask;
    uint32_t char_of[256]; /* the code point that a byte is written as */
    int16_t byte_of[N_BYTE_CHARS];
    int32_t byte_symbols[256];
};

/* ---- merges ---------------------------------------------------------------------------------- */

/* Printable bytes of Latin-1 stand for themselves, the others for U+0100 on, in order. */
static void map_bytes(struct bpe *b)
{
    uint32_t next = 256;
    memset(b->byte_of, 0xFF, sizeof b->byte_of);
    for (uint32_t i = 0; i < 256; i++) {
        bool own = (i >= 0x21 && i <= 0x7E) || (i >= 0xA1 && i <= 0xAC) || i >= 0xAE;
        b->char_of[i] = own ? i : next++;
        b->byte_of[b->char_of[i]] = (int16_t)i;
    }
}

int bpe_byte_of(const struct bpe *b, uint32_t c)
{
    return c < N_BYTE_CHARS ? b->byte_of[c] : -1;
}

static int32_t find_symbol(const struct tokenizer *t, const char *s, size_t len)
{
    int32_t id = tokenizer_find(t, s, len);
    if (id != NO_TOKEN) return id;
    int32_t other = text_index_find(&t->bpe->others, s, len);
    return other == NO_TOKEN ? NO_TOKEN : (int32_t)t->n_tokens + other;
}

/* The number of a symbol, new if need be. */
static enum status number_symbol(struct tokenizer *t, const char *s, size_t len, int32_t *out,
                                 struct err *e)
{
    *out = find_symbol(t, s, len);
    if (*out != NO_TOKEN) return ST_OK;
    char *copy = arena_strdup(&t->arena, s, len);
    if (!copy) return fail(e, ST_NOMEM, "out of memory for the merges");
    *out = (int32_t)(t->n_tokens + t->bpe->others.n);
    return text_index_add(&t->bpe->others, (struct gguf_str){copy, len}, e);
}

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* The slot of a pair, or the empty one where it would be. */
static struct pair_slot *find_pair(const struct bpe *b, uint64_t pair)
{
    uint64_t h = pair * 0x9e3779b97f4a7c15u;
    for (uint64_t i = (h ^ h >> 32) & b->pair_mask;; i = (i + 1) & b->pair_mask)
        if (b->pairs[i].rank == 0 || b->pairs[i].pair == pair) return &b->pairs[i];
}

/* A line "left right"; joined has room for it. The first of two equal ones counts. */
static enum status add_merge(struct tokenizer *t, struct gguf_str line, uint32_t rank, char *joined,
                             struct err *e)
{
    int32_t left, right, id;
    const char *space = line.len > 1 ? memchr(line.data + 1, ' ', line.len - 1) : NULL;
    if (!space) return ST_OK;
    size_t n = (size_t)(space - line.data), rest = line.len - n - 1;
    memcpy(joined, line.data, n);
    memcpy(joined + n, space + 1, rest);
    enum status st = number_symbol(t, line.data, n, &left, e);
    if (st == ST_OK) st = number_symbol(t, space + 1, rest, &right, e);
    if (st == ST_OK) st = number_symbol(t, joined, n + rest, &id, e);
    if (st != ST_OK) return st;
    struct pair_slot *slot = find_pair(t->bpe, pair_of(left, right));
    if (slot->rank == 0) *slot = (struct pair_slot){pair_of(left, right), rank + 1, id};
    return ST_OK;
}

static enum status load_merges(struct tokenizer *t, struct gguf_kv *kv, struct err *e)
{
    struct bpe *b = t->bpe;
    const size_t n = kv ? (size_t)kv->count : 0;
    size_t longest = 0, slots = 64;
    char *joined = NULL;
    enum status st = ST_OK;
    if (kv && (kv->type != GGUF_ARRAY || kv->elem != GGUF_STRING || n > INT32_MAX / 16))
        return fail(e, ST_FORMAT, "tokenizer.ggml.merges is no array of strings, or too long");
    while (slots / 2 < n) slots *= 2;
    struct gguf_str *lines = alloc_array(n + 1, sizeof *lines);
    b->pairs = arena_alloc(&t->arena, slots, sizeof *b->pairs);
    b->pair_mask = slots - 1;
    if (lines && n > 0 && !gguf_value_strings(kv, lines))
        st = fail(e, ST_FORMAT, "tokenizer.ggml.merges is no array of strings");
    for (size_t i = 0; lines && st == ST_OK && i < n; i++)
        if (lines[i].len > longest) longest = lines[i].len;
    joined = alloc_array(longest + 1, 1);
    if (st == ST_OK && (!lines || !b->pairs || !joined))
        st = fail(e, ST_NOMEM, "out of memory for %zu merges", n);
    for (size_t i = 0; st == ST_OK && i < n; i++)
        st = add_merge(t, lines[i], (uint32_t)i, joined, e);
    free(joined);
    free(lines);
    return st;
}

enum status bpe_open(struct tokenizer *t, const struct gguf *g, const struct pre *pre,
                     struct err *e)
{
    struct gguf_kv *merges = gguf_find(g, "tokenizer.ggml.merges");
    if (!merges && !(pre->flags & PRE_NO_MERGES))
        return fail(e, ST_FORMAT, "key tokenizer.ggml.merges is missing");
    struct bpe *b = t->bpe = arena_alloc(&t->arena, 1, sizeof *b);
    if (!b) return fail(e, ST_NOMEM, "out of memory for a tokenizer");
    b->pre = *pre;
    map_bytes(b);
    enum status st = load_merges(t, merges, e);
    for (size_t i = 0; st == ST_OK && i < 256; i++) {
        char text[4];
        st = number_symbol(t, text, utf8_encode(b->char_of[i], text), &b->byte_symbols[i], e);
    }
    return st;
}

void bpe_close(struct bpe *b)
{
    if (b) text_index_free(&b->others);
}

/* ---- encoding -------------------------------------------------------------------------------- */

/* A fragment being encoded: its code points, and as UTF-8 again, which is not always what it
 * was. */
struct bpe_text {
    const struct tokenizer *t;
    uint32_t *chars;   /* (n) */
    uint32_t *offsets; /* (n + 1) in utf8 */
    char *utf8;
    size_t n;
    char *written; /* a word as a byte-level vocabulary writes it: room for the longest token */
    struct merger merger;
    struct words_seen seen;
    struct id_list *out;
    struct err *e;
};

static bool find_merge(const void *ctx, const struct symbol *a, const struct symbol *b,
                       struct merge *out)
{
    const struct bpe_text *x = ctx;
    if (a->id == NO_TOKEN || b->id == NO_TOKEN) return false;
    const struct pair_slot *slot = find_pair(x->t->bpe, pair_of(a->id, b->id));
    if (slot->rank == 0) return false;
    out->order = slot->rank;
    out->id = slot->id;
    return true;
}

/* A symbol that is no token: of its text as the vocabulary writes it, the bytes that are tokens. */
static enum status put_unknown(struct bpe_text *x, const struct symbol *y)
{
    const struct tokenizer *t = x->t;
    enum status st = ST_OK;
    for (uint32_t i = 0; i < y->len; i++) {
        unsigned char byte = (unsigned char)x->utf8[y->off + i];
        char text[4];
        if (t->kind == TOKENIZER_GEMMA4) {
            int32_t id = t->byte_ids[byte] != NO_TOKEN ? t->byte_ids[byte] : t->unk;
            if (id != NO_TOKEN) st = id_push(x->out, id, x->e);
            if (st != ST_OK) return st;
            continue;
        }
        size_t n = utf8_encode(t->bpe->char_of[byte], text);
        for (size_t k = 0; k < n; k++) {
            int32_t id = tokenizer_find(t, text + k, 1);
            if (id != NO_TOKEN) st = id_push(x->out, id, x->e);
            if (st != ST_OK) return st;
        }
    }
    return ST_OK;
}

static enum status put_symbol(struct bpe_text *x, const struct symbol *y)
{
    bool token = y->id != NO_TOKEN && (uint32_t)y->id < x->t->n_tokens;
    return token ? id_push(x->out, y->id, x->e) : put_unknown(x, y);
}

/* The token that is the whole word, if such tokens are taken whatever the merges say. */
static int32_t whole_word(struct bpe_text *x, size_t from, size_t to)
{
    const struct tokenizer *t = x->t;
    const char *word = x->utf8 + x->offsets[from];
    size_t len = x->offsets[to] - x->offsets[from], n = 0;
    if (t->kind == TOKENIZER_GEMMA4)
        return x->chars[from] == '\n' ? tokenizer_find(t, word, len) : NO_TOKEN;
    if (!(t->bpe->pre.flags & PRE_WHOLE_WORDS) || len > t->longest) return NO_TOKEN;
    size_t i = 0;
    for (; i < len && n <= t->longest; i++)
        n += utf8_encode(t->bpe->char_of[(unsigned char)word[i]], x->written + n);
    return i == len && n <= t->longest ? tokenizer_find(t, x->written, n) : NO_TOKEN;
}

/* The symbols that a word begins with: bytes, or for gemma4 characters. */
static size_t split_symbols(struct bpe_text *x, size_t from, size_t to)
{
    struct symbol *s = x->merger.symbols;
    size_t n = 0;
    if (x->t->kind == TOKENIZER_BPE) {
        for (uint32_t i = x->offsets[from]; i < x->offsets[to]; i++, n++)
            s[n] = (struct symbol){
                .off = i, .len = 1, .id = x->t->bpe->byte_symbols[(unsigned char)x->utf8[i]]};
        return n;
    }
    for (size_t i = from; i < to; i++, n++) {
        uint32_t off = x->offsets[i], len = x->offsets[i + 1] - off;
        s[n] = (struct symbol){.off = off, .len = len, .id = find_symbol(x->t, x->utf8 + off, len)};
    }
    return n;
}

static enum status encode_word(void *ctx, size_t from, size_t to)
{
    struct bpe_text *x = ctx;
    size_t off = x->offsets[from], len = x->offsets[to] - off, first = x->out->n, slot;
    enum status st;
    if (words_recall(&x->seen, off, len, x->out, &slot, &st, x->e)) return st;
    int32_t id = whole_word(x, from, to);
    if (id != NO_TOKEN) {
        st = id_push(x->out, id, x->e);
    } else {
        st = merger_reserve(&x->merger, len, x->e);
        if (st != ST_OK) return st;
        merger_run(&x->merger, split_symbols(x, from, to));
        for (int32_t i = 0; st == ST_OK && i != NO_SYMBOL; i = x->merger.symbols[i].next)
            st = put_symbol(x, &x->merger.symbols[i]);
    }
    words_keep(&x->seen, slot, off, len, x->out, first);
    return st;
}

static void decode_chars(struct bpe_text *x, const char *text, size_t len)
{
    const bool marks = x->t->kind == TOKENIZER_GEMMA4;
    uint32_t at = 0;
    for (size_t i = 0; i < len; x->n++) {
        uint32_t c;
        i += utf8_decode(text + i, len - i, &c);
        if (marks && c == ' ') c = 0x2581;
        x->chars[x->n] = c;
        x->offsets[x->n] = at;
        at += (uint32_t)utf8_encode(c, x->utf8 + at);
    }
    x->offsets[x->n] = at;
}

enum status bpe_encode(const struct tokenizer *t, const char *text, size_t len, struct id_list *out,
                       struct err *e)
{
    enum { MOST_BYTES = 3 }; /* that one byte becomes: a U+FFFD, or a space's mark */
    struct bpe_text x = {.t = t, .out = out, .e = e};
    enum status st = ST_OK;
    x.chars = alloc_array(len, sizeof *x.chars);
    x.offsets = alloc_array(len + 1, sizeof *x.offsets);
    x.utf8 = alloc_array(len + 1, MOST_BYTES);
    x.written = alloc_array(t->longest + 4, 1);
    if (!x.chars || !x.offsets || !x.utf8 || !x.written) {
        st = fail(e, ST_NOMEM, "out of memory for a text of %zu bytes", len);
        goto out;
    }
    decode_chars(&x, text, len);
    x.merger = (struct merger){.find = find_merge, .ctx = &x};
    words_open(&x.seen, x.utf8, x.offsets[x.n]);
    st = pre_split(&t->bpe->pre, x.chars, x.n, encode_word, &x);
    words_close(&x.seen);
    merger_free(&x.merger);
out:
    free(x.chars);
    free(x.offsets);
    free(x.utf8);
    free(x.written);
    return st;
}
