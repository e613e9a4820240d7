/* Merging adjacent symbols, best pair first: what SentencePiece and byte-pair encoding share. A
 * heap of candidate merges over a linked list of symbols: O(n log n). */
#ifndef TOKENIZER_MERGE_H
#define TOKENIZER_MERGE_H

#include "engine/base/base.h"

enum { NO_SYMBOL = -1 };

/* A run of bytes of the text; len 0 = merged into its left neighbour. */
struct symbol {
    uint32_t off, len;
    int32_t prev, next; /* NO_SYMBOL at the ends */
    int32_t id;         /* what the owner makes of it */
};

struct merge {
    double order; /* the lowest one goes first; of equals the leftmost */
    int32_t left, right, id;
    uint32_t len; /* of both symbols when this was found: the merge is void if they have changed */
};

/* Whether a and b merge: sets order, and id of the result. */
typedef bool (*merge_find)(const void *ctx, const struct symbol *a, const struct symbol *b,
                           struct merge *out);

/* Zero to begin with; release with merger_free. */
struct merger {
    merge_find find;
    const void *ctx;
    struct symbol *symbols;
    struct merge *heap;
    size_t n_heap, room;
};

/* Room for n symbols. */
enum status merger_reserve(struct merger *m, size_t n, struct err *e);
/* Merges symbols[0..n), whose off, len and id are set. Then they are linked from symbols[0] on. */
void merger_run(struct merger *m, size_t n);
void merger_free(struct merger *m);

#endif
