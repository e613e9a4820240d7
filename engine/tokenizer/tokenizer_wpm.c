/* WordPiece: text is normalised and cut into words, each word matched greedily by the longest
 * tokens; a word that does not work out is unknown as a whole. */
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/unicode.h"

#include <stdlib.h>
#include <string.h>

static const char word_mark[] = "\xe2\x96\x81"; /* U+2581 begins a word */
enum { MARK_BYTES = sizeof word_mark - 1 };

struct wpm {
    const struct tokenizer *t;
    char *word; /* word_mark, and what follows of it */
    size_t len;
    struct id_list *out;
    struct err *e;
};

static bool is_han(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
        {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i].first && c <= ranges[i].last) return true;
    return false;
}

/* Whether a code point is a word by itself. */
static bool stands_alone(uint32_t c)
{
    unsigned class = unicode_class(c);
    return (class & UNICODE_PUNCTUATION) || (c < 0x7F && (class & UNICODE_SYMBOL)) || is_han(c);
}

/* False if the code point is dropped. */
static bool normalise(const struct tokenizer *t, uint32_t *c)
{
    if (t->strip_accents) *c = unicode_base(*c);
    unsigned class = unicode_class(*c);
    if (t->strip_accents && (class & UNICODE_MARK)) return false;
    if (*c == 0 || *c == UNICODE_REPLACEMENT) return false;
    if ((class & UNICODE_INVISIBLE) && !(class & UNICODE_SPACE)) return false;
    if (t->lower_case) *c = unicode_lower(*c);
    return true;
}

enum status wpm_open(struct tokenizer *t, struct err *e)
{
    bool *there = alloc_array(t->longest + 1, sizeof *there);
    t->lengths = arena_alloc(&t->arena, t->n_tokens, sizeof *t->lengths);
    for (uint32_t id = 0; there && id < t->n_tokens; id++) there[t->index.texts[id].len] = true;
    for (size_t n = t->longest; there && t->lengths && n > 0; n--)
        if (there[n]) t->lengths[t->n_lengths++] = n;
    const bool good = there && t->lengths;
    free(there);
    return good ? ST_OK : fail(e, ST_NOMEM, "out of memory for a tokenizer");
}

/* The longest token that len bytes begin with; *n: its length. */
static int32_t longest_token(const struct tokenizer *t, const char *s, size_t len, size_t *n)
{
    int32_t id = NO_TOKEN;
    for (uint32_t i = 0; i < t->n_lengths && id == NO_TOKEN; i++) {
        *n = t->lengths[i];
        if (*n <= len) id = tokenizer_find(t, s, *n);
    }
    return id;
}

/* The tokens of x->word, which then is empty again. */
static enum status end_word(struct wpm *x)
{
    const size_t first = x->out->n, len = x->len;
    enum status st = ST_OK;
    x->len = MARK_BYTES;
    if (len == MARK_BYTES) return ST_OK;
    for (size_t at = 0; at < len;) {
        size_t n;
        int32_t id = longest_token(x->t, x->word + at, len - at, &n);
        if (id == NO_TOKEN) {
            x->out->n = first;
            return x->t->unk != NO_TOKEN ? id_push(x->out, x->t->unk, x->e) : ST_OK;
        }
        st = id_push(x->out, id, x->e);
        if (st != ST_OK) return st;
        at += n;
    }
    return ST_OK;
}

enum status wpm_encode(const struct tokenizer *t, const char *text, size_t len, struct id_list *out,
                       struct err *e)
{
    enum { MOST_BYTES = 3 }; /* that normalising makes of one byte */
    struct wpm x = {.t = t, .len = MARK_BYTES, .out = out, .e = e};
    enum status st = ST_OK;
    x.word = alloc_array(len + MARK_BYTES, MOST_BYTES);
    if (!x.word) return fail(e, ST_NOMEM, "out of memory for a text of %zu bytes", len);
    memcpy(x.word, word_mark, MARK_BYTES);
    for (size_t i = 0; st == ST_OK && i < len;) {
        uint32_t c;
        i += utf8_decode(text + i, len - i, &c);
        if (!normalise(t, &c)) continue;
        bool space = (unicode_class(c) & UNICODE_SPACE) != 0, alone = stands_alone(c);
        if (space || alone) st = end_word(&x);
        if (!space) x.len += utf8_encode(c, x.word + x.len);
        if (alone && st == ST_OK) st = end_word(&x);
    }
    if (st == ST_OK) st = end_word(&x);
    free(x.word);
    return st;
}
