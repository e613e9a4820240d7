/* Names to numbers, for keys and for tensor names: files with a million keys must not take a
 * quadratic time to be found free of duplicates. */
#include "engine/gguf/gguf_internal.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a, then a mix, because the table takes the low bits. */
static size_t hash_name(struct gguf_str name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < name.len; i++) h = (h ^ (uint8_t)name.data[i]) * 0x100000001b3u;
    h ^= h >> 32;
    h *= 0x9e3779b97f4a7c15u;
    return (size_t)(h ^ h >> 29);
}

struct gguf_index *gguf_index_new(size_t expected)
{
    size_t cap = 16;
    while (cap / 2 < expected && cap <= SIZE_MAX / 4) cap *= 2;
    struct gguf_index *x = alloc_array(1, sizeof *x);
    if (!x) return NULL;
    x->slots = alloc_array(cap, sizeof *x->slots);
    x->cap = cap;
    if (x->slots) return x;
    free(x);
    return NULL;
}

void gguf_index_free(struct gguf_index *x)
{
    if (!x) return;
    free(x->slots);
    free(x);
}

/* The slot that holds the name, or the free one where it belongs. */
static struct gguf_slot *slot_of(const struct gguf_index *x, struct gguf_str name)
{
    for (size_t i = hash_name(name);; i++) {
        struct gguf_slot *s = &x->slots[i & (x->cap - 1)];
        if (!s->name || (s->len == name.len && memcmp(s->name, name.data, name.len) == 0)) return s;
    }
}

static bool index_grow(struct gguf_index *x)
{
    struct gguf_index wider = {.cap = x->cap * 2, .n = x->n};
    wider.slots = alloc_array(wider.cap, sizeof *wider.slots);
    if (!wider.slots) return false;
    for (size_t i = 0; i < x->cap; i++) {
        const struct gguf_slot *s = &x->slots[i];
        if (s->name) *slot_of(&wider, (struct gguf_str){s->name, s->len}) = *s;
    }
    free(x->slots);
    *x = wider;
    return true;
}

bool gguf_index_add(struct gguf_index *x, struct gguf_str name, size_t *value, bool *found)
{
    if (x->n >= x->cap / 2 && !index_grow(x)) return false;
    struct gguf_slot *s = slot_of(x, name);
    *found = s->name != NULL;
    if (*found) {
        *value = s->value;
        return true;
    }
    *s = (struct gguf_slot){name.data, name.len, *value};
    x->n++;
    return true;
}

bool gguf_index_find(const struct gguf_index *x, struct gguf_str name, size_t *value)
{
    const struct gguf_slot *s = slot_of(x, name);
    if (!s->name) return false;
    *value = s->value;
    return true;
}
