/* The heap of merges, and the list of symbols that they shorten. */
#include "engine/tokenizer/tokenizer_merge.h"

#include <stdlib.h>

static bool before(const struct merge *a, const struct merge *b)
{
    return a->order < b->order || (a->order == b->order && a->left < b->left);
}

static void heap_push(struct merger *m, struct merge x)
{
    size_t i = m->n_heap++;
    while (i > 0 && before(&x, &m->heap[(i - 1) / 2])) {
        m->heap[i] = m->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    m->heap[i] = x;
}

static struct merge heap_pop(struct merger *m)
{
    struct merge top = m->heap[0], last = m->heap[--m->n_heap];
    size_t i = 0;
    for (size_t child = 1; child < m->n_heap; child = 2 * i + 1) {
        if (child + 1 < m->n_heap && before(&m->heap[child + 1], &m->heap[child])) child++;
        if (!before(&m->heap[child], &last)) break;
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = last;
    return top;
}

static void try_merge(struct merger *m, int32_t left, int32_t right)
{
    if (left == NO_SYMBOL || right == NO_SYMBOL) return;
    const struct symbol *a = &m->symbols[left], *b = &m->symbols[right];
    struct merge x = {.left = left, .right = right, .len = a->len + b->len};
    if (m->find(m->ctx, a, b, &x)) heap_push(m, x);
}

enum status merger_reserve(struct merger *m, size_t n, struct err *e)
{
    if (n <= m->room) return ST_OK;
    size_t room = n < 256 ? 256 : n > SIZE_MAX / 2 ? n : 2 * n;
    if (room > INT32_MAX) return fail(e, ST_RANGE, "a text of %zu symbols is too long", n);
    merger_free(m);
    m->symbols = alloc_array(room, sizeof *m->symbols);
    m->heap = alloc_array(3 * room, sizeof *m->heap);
    if (!m->symbols || !m->heap)
        return fail(e, ST_NOMEM, "out of memory for a text of %zu symbols", n);
    m->room = room;
    return ST_OK;
}

/* The heap never holds more than 3 (n - 1) candidates: n - 1 seeds and two for each of at most
 * n - 1 merges. */
void merger_run(struct merger *m, size_t n)
{
    struct symbol *s = m->symbols;
    m->n_heap = 0;
    for (size_t i = 0; i < n; i++) {
        s[i].prev = (int32_t)i - 1;
        s[i].next = i + 1 < n ? (int32_t)i + 1 : NO_SYMBOL;
    }
    for (size_t i = 0; i + 1 < n; i++) try_merge(m, (int32_t)i, (int32_t)i + 1);
    while (m->n_heap > 0) {
        struct merge x = heap_pop(m);
        struct symbol *a = &s[x.left], *b = &s[x.right];
        if (a->len == 0 || b->len == 0 || a->len + b->len != x.len) continue;
        a->len += b->len;
        a->id = x.id;
        b->len = 0;
        a->next = b->next;
        if (b->next != NO_SYMBOL) s[b->next].prev = x.left;
        try_merge(m, a->prev, x.left);
        try_merge(m, x.left, a->next);
    }
}

void merger_free(struct merger *m)
{
    free(m->symbols);
    free(m->heap);
    m->symbols = NULL;
    m->heap = NULL;
    m->room = 0;
}
