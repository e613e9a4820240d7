/* A backend in front of another: all memory starts as NaN patterns instead of zeros, and cells of
 * a KV cache can be filled with them at any time. Whatever a session computes must not depend on
 * it. Everything else passes through. */
#ifndef POISON_H
#define POISON_H

#include "engine/backend.h"

/* real must outlive it. Closed by poison_close, not by backend_close. */
enum status poison_open(struct backend **out, struct backend *real, struct err *e);
void poison_close(struct backend *b);

/* Fills the cells from `first` on of every cache that kv_write has written. *n: how many caches. */
enum status poison_cells(struct backend *b, uint32_t first, size_t *n, struct err *e);

#endif
