/* A compiled regular expression, for its two halves: tokenizer_regex_compile.c makes it,
 * tokenizer_regex.c matches with it. */
#ifndef TOKENIZER_REGEX_PRIV_H
#define TOKENIZER_REGEX_PRIV_H

#include "engine/tokenizer/tokenizer_regex.h"
#include "engine/tokenizer/unicode.h"

#define REGEX_ENDLESS UINT32_MAX

struct cp_range {
    uint32_t first, last;
};

/* A set of code points. Below 128: ascii alone, which has all the rest worked in. */
struct cp_set {
    uint32_t ascii[4];
    unsigned classes; /* of enum unicode_class */
    bool negated;
    struct cp_range *ranges; /* (n_ranges) in order, apart from each other */
    size_t n_ranges;
    const struct cp_set *also; /* the code point must be in this set too */
};

enum node_kind {
    NODE_SET,   /* one code point */
    NODE_LOOP,  /* min to max of them */
    NODE_GROUP, /* one of the branches, min to max times */
    NODE_AHEAD, /* one of the branches, or none of them, would match here */
    NODE_END,   /* the end of the text */
};

struct node;
enum { REGEX_BRANCHES = 32 };
struct branches {
    uint32_t n;
    struct node *first[REGEX_BRANCHES]; /* NULL: matches nothing, at once */
    uint32_t may[128];                  /* bit i: branch i can begin with that code point */
};

struct node {
    enum node_kind kind;
    bool negated; /* NODE_AHEAD */
    uint32_t min, max;
    uint32_t loop; /* number among the loops of the expression */
    struct cp_set set;
    struct branches branches;
    struct node *next; /* NULL: the end of a branch */
};

struct regex {
    struct branches branches;
};

/* Whether c >= 128 is in the set. */
bool regex_in_wide(const struct cp_set *s, uint32_t c);

#endif
