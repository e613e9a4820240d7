/* Remembering words: a text says the same ones over and over. */
#include "engine/tokenizer/tokenizer_words.h"

#include <stdlib.h>
#include <string.h>

enum { N_SLOTS = 1 << 13, SHORT_TEXT = 1 << 12, LONG_WORD = 64 };

struct word_seen {
    uint32_t off, len; /* in the text; len 0: empty */
    size_t first, n;   /* in the list of tokens */
};

void words_open(struct words_seen *w, const char *text, size_t len)
{
    w->text = text;
    w->at = len > SHORT_TEXT ? alloc_array(N_SLOTS, sizeof *w->at) : NULL;
}

void words_close(struct words_seen *w)
{
    free(w->at);
    w->at = NULL;
}

bool words_recall(struct words_seen *w, size_t off, size_t len, struct id_list *out, size_t *slot,
                  enum status *st, struct err *e)
{
    *slot = SIZE_MAX;
    if (!w->at || len > LONG_WORD) return false;
    *slot = text_hash(w->text + off, len) % N_SLOTS;
    const struct word_seen *s = &w->at[*slot];
    if (s->len != len || memcmp(w->text + s->off, w->text + off, len) != 0) return false;
    *st = ST_OK;
    for (size_t i = 0; *st == ST_OK && i < s->n; i++) *st = id_push(out, out->ids[s->first + i], e);
    return true;
}

void words_keep(struct words_seen *w, size_t slot, size_t off, size_t len,
                const struct id_list *out, size_t first)
{
    if (slot != SIZE_MAX)
        w->at[slot] = (struct word_seen){(uint32_t)off, (uint32_t)len, first, out->n - first};
}
