/* SentencePiece-style encoding: adjacent symbols merge, best score first, as long as the result
 * is a token. */
#include "engine/tokenizer/tokenizer_merge.h"
#include "engine/tokenizer/tokenizer_words.h"

#include <stdlib.h>
#include <string.h>

#define SPACE_MARK "\xe2\x96\x81" /* U+2581 stands for a space */
enum { MARK_BYTES = sizeof SPACE_MARK - 1 };

struct spm {
    const struct tokenizer *t;
    char *text;
    size_t len;
    struct merger merger;
    struct words_seen seen;
};

static bool is_mark(const char *s, size_t len)
{
    return len >= MARK_BYTES && memcmp(s, SPACE_MARK, MARK_BYTES) == 0;
}

void spm_open(struct tokenizer *t)
{
    t->words_apart = true;
    for (uint32_t id = 0; t->words_apart && id < t->n_tokens; id++) {
        struct gguf_str s = t->index.texts[id];
        for (size_t i = 1; i + MARK_BYTES <= s.len; i++)
            if (is_mark(s.data + i, MARK_BYTES) &&
                (i < MARK_BYTES || !is_mark(s.data + i - MARK_BYTES, MARK_BYTES)))
                t->words_apart = false;
    }
}

static bool find_merge(const void *ctx, const struct symbol *a, const struct symbol *b,
                       struct merge *out)
{
    const struct spm *s = ctx;
    out->id = tokenizer_find(s->t, s->text + a->off, a->len + b->len);
    if (out->id == NO_TOKEN) return false;
    out->order = -(double)s->t->tokens[out->id].score;
    return true;
}

/* Bytes of a character by its first one, right or wrong; more than are there are not taken. */
static size_t char_len(const struct spm *s, size_t off)
{
    unsigned lead = (unsigned char)s->text[off];
    size_t n = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    return n < s->len - off ? n : s->len - off;
}

/* A symbol that is no token is a single character, and comes out as its bytes. */
static enum status put_symbol(const struct spm *s, const struct symbol *y, struct id_list *out,
                              struct err *e)
{
    int32_t id = tokenizer_find(s->t, s->text + y->off, y->len);
    if (id != NO_TOKEN) return id_push(out, id, e);
    for (uint32_t i = 0; i < y->len; i++) {
        uint8_t byte = (uint8_t)s->text[y->off + i];
        id = s->t->byte_ids[byte] != NO_TOKEN ? s->t->byte_ids[byte] : s->t->unk;
        if (id == NO_TOKEN)
            return fail(e, ST_FORMAT,
                        "the vocabulary has no token for byte 0x%02X, and no unknown "
                        "token",
                        byte);
        enum status st = id_push(out, id, e);
        if (st != ST_OK) return st;
    }
    return ST_OK;
}

/* Spaces become U+2581. */
static void prepare(struct spm *s, const char *text, size_t len, bool space_prefix)
{
    if (space_prefix) {
        memcpy(s->text, SPACE_MARK, MARK_BYTES);
        s->len = MARK_BYTES;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ' ') {
            memcpy(s->text + s->len, SPACE_MARK, MARK_BYTES);
            s->len += MARK_BYTES;
        } else {
            s->text[s->len++] = text[i];
        }
    }
}

/* A run of text that no merge crosses. */
static enum status encode_word(struct spm *s, size_t off, size_t len, struct id_list *out,
                               struct err *e)
{
    size_t slot, n = 0, first = out->n;
    enum status st;
    if (words_recall(&s->seen, off, len, out, &slot, &st, e)) return st;
    st = merger_reserve(&s->merger, len, e);
    if (st != ST_OK) return st;
    for (size_t i = off; i < off + len; n++) {
        uint32_t bytes = (uint32_t)char_len(s, i);
        s->merger.symbols[n] = (struct symbol){.off = (uint32_t)i, .len = bytes};
        i += bytes;
    }
    merger_run(&s->merger, n);
    for (int32_t i = 0; st == ST_OK && i != NO_SYMBOL; i = s->merger.symbols[i].next)
        st = put_symbol(s, &s->merger.symbols[i], out, e);
    words_keep(&s->seen, slot, off, len, out, first);
    return st;
}

/* Where the text has a space mark behind anything else, if no token does; else all of it. */
static enum status encode_words(struct spm *s, struct id_list *out, struct err *e)
{
    size_t start = 0;
    bool after_mark = true;
    for (size_t i = 0; i < s->len;) {
        size_t n = char_len(s, i);
        bool mark = n == MARK_BYTES && is_mark(s->text + i, n);
        if (mark && !after_mark && s->t->words_apart) {
            enum status st = encode_word(s, start, i - start, out, e);
            if (st != ST_OK) return st;
            start = i;
        }
        after_mark = mark;
        i += n;
    }
    return start < s->len ? encode_word(s, start, s->len - start, out, e) : ST_OK;
}

enum status spm_encode(const struct tokenizer *t, const char *text, size_t len, bool space_prefix,
                       struct id_list *out, struct err *e)
{
    struct spm s = {.t = t};
    size_t spaces = space_prefix ? 1 : 0;
    for (size_t i = 0; i < len; i++) spaces += text[i] == ' ';
    s.text = alloc_array(len + MARK_BYTES * spaces, 1);
    if (!s.text) return fail(e, ST_NOMEM, "out of memory for a text of %zu bytes", len);
    prepare(&s, text, len, space_prefix);
    s.merger = (struct merger){.find = find_merge, .ctx = &s};
    words_open(&s.seen, s.text, s.len);
    enum status st = encode_words(&s, out, e);
    words_close(&s.seen);
    merger_free(&s.merger);
    free(s.text);
    return st;
}
