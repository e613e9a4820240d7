/* Pre-tokenizers: cutting text into the words that byte-pair merges never cross. */
#ifndef TOKENIZER_PRE_H
#define TOKENIZER_PRE_H

#include "engine/gguf/gguf.h"

struct regex;

/* What goes with the name of a pre-tokenizer beside its rules. */
enum pre_flags {
    PRE_PLAIN = 0,
    PRE_BOS = 1,            /* a BOS is added unless the file says otherwise */
    PRE_WHOLE_WORDS = 2,    /* a word that is a token is taken whole, whatever the merges say */
    PRE_CLEAN_SPACES = 4,   /* spaces before punctuation go when text is decoded */
    PRE_NO_DEFAULT_BOS = 8, /* no BOS but the one that the file names */
    PRE_NO_MERGES = 16,     /* a file without merges will do */
    PRE_MASK_LSTRIP = 32,   /* <mask> swallows the white space before it */
};

enum { PRE_MAX_RULES = 6 };

struct pre {
    unsigned flags;
    size_t n_rules;
    struct pre_rule {
        enum pre_kind { PRE_REGEX, PRE_DIGITS_FROM_RIGHT, PRE_THOUSANDS } kind;
        struct regex *regex; /* in the arena of pre_open */
    } rules[PRE_MAX_RULES];
};

/* The pre-tokenizer of that name. *known is false if there is none. */
enum status pre_open(struct pre *out, struct arena *a, struct gguf_str name, bool *known,
                     struct err *e);
/* One that cuts runs of newlines from the rest. */
enum status pre_open_lines(struct pre *out, struct arena *a, struct err *e);
/* One name for each set of rules, as a list. */
void pre_list(char *out, size_t cap);

/* Calls word for each word of a text, in order, with its first code point and the one behind it;
 * stops when that fails. */
typedef enum status (*pre_word)(void *ctx, size_t from, size_t to);
enum status pre_split(const struct pre *p, const uint32_t *text, size_t n, pre_word word,
                      void *ctx);

#endif
