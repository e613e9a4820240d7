/* Words of a text that came before in it, with the tokens that they became. */
#ifndef TOKENIZER_WORDS_H
#define TOKENIZER_WORDS_H

#include "engine/tokenizer/tokenizer.h"

/* One entry per hash: the last word wins. Offsets, not copies: words in the text, tokens in the
 * list that grows. */
struct words_seen {
    const char *text;
    struct word_seen *at; /* NULL: nothing is kept */
};

/* For a text of len bytes; a short one is not worth it, and memory that is not to be had is done
 * without. */
void words_open(struct words_seen *w, const char *text, size_t len);
void words_close(struct words_seen *w);
/* Appends the tokens of a word that was there before. Else *slot is where to remember it. */
bool words_recall(struct words_seen *w, size_t off, size_t len, struct id_list *out, size_t *slot,
                  enum status *st, struct err *e);
/* The word became all tokens from first on. */
void words_keep(struct words_seen *w, size_t slot, size_t off, size_t len,
                const struct id_list *out, size_t first);

#endif
