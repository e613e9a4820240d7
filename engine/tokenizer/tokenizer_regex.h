/* Regular expressions over code points, as far as pre-tokenizers use them: classes, \p{L} \p{N}
 * \p{P} \p{S} \p{M} \s \S \d, \u{HEX}, groups, lookahead, alternation, greedy quantifiers, "$".
 * A repeated class gives back what it took too much of; a group is atomic: what it has matched
 * stands. A group of one code point counts as a class. Non-ASCII white space is in \s only, never
 * in a range. */
#ifndef TOKENIZER_REGEX_H
#define TOKENIZER_REGEX_H

#include "engine/base/base.h"

struct regex;

/* Compiled into the arena. A pattern that is not understood is ST_UNSUPPORTED. */
enum status regex_compile(struct regex **out, struct arena *a, const char *pattern, struct err *e);

enum { REGEX_LOOPS = 24 };

/* A search through one text. */
struct regex_search {
    const struct regex *regex;
    const uint32_t *text;
    size_t end;    /* of the text: what lies behind is not seen */
    size_t length; /* of the last match */
    /* Where a long repetition was in vain, so that every start in it need not try again. */
    struct vain {
        size_t from, to;
    } vain[REGEX_LOOPS];
    bool any_vain;
};

/* Begins a search of text[..end). *s is zero the first time. */
void regex_begin(struct regex_search *s, const struct regex *regex, const uint32_t *text,
                 size_t end);
/* The leftmost match at or behind at; its length is in s->length. SIZE_MAX if there is none. */
size_t regex_next(struct regex_search *s, size_t at);

#endif
