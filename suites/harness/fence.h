/* Bytes in front of a page that may not be read: a reader that goes on too far crashes, in every
 * build. */
#ifndef FENCE_H
#define FENCE_H

#include "harness/harness.h"

/* Room for bytes that end at `end`, behind which the program may not read. */
struct fence {
    uint8_t *map;
    size_t map_size;
    uint8_t *end;
};
/* Makes room for cap bytes; false, which fails the case, if there is no memory. */
bool fence_open(struct test *t, struct fence *f, size_t cap);
/* Copies n <= cap bytes to where they end at f->end; the result is the copy. */
struct span fence_put(const struct fence *f, const void *data, size_t n);
void fence_close(struct fence *f);

#endif
