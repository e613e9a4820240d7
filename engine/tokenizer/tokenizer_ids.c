/* A list of token ids that grows. */
#include "engine/tokenizer/tokenizer.h"

#include <stdlib.h>

enum status id_push(struct id_list *l, int32_t id, struct err *e)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 32;
        int32_t *grown = realloc(l->ids, cap * sizeof *grown);
        if (!grown) return fail(e, ST_NOMEM, "out of memory for %zu tokens", cap);
        l->ids = grown;
        l->cap = cap;
    }
    l->ids[l->n++] = id;
    return ST_OK;
}
