/* A hash table of texts with open addressing, at most half full. */
#include "engine/tokenizer/tokenizer_index.h"

#include <stdlib.h>
#include <string.h>

struct text_slot {
    uint32_t hash;
    int32_t number; /* 1 + it; 0 = empty */
};

uint64_t text_hash(const char *s, size_t len)
{
    uint64_t h = 0xcbf29ce484222325u ^ len;
    for (; len >= 8; s += 8, len -= 8) {
        uint64_t v;
        memcpy(&v, s, 8);
        h = (h ^ v) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < len; i++) v = v << 8 | (uint8_t)s[i];
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

static enum status grow(struct text_index *x, struct err *e)
{
    uint32_t cap = x->cap ? 2 * x->cap : 64, mask = 2 * cap - 1;
    struct text_slot *slots = NULL;
    struct gguf_str *texts = NULL;
    if (x->cap <= INT32_MAX / 8) {
        slots = alloc_array((size_t)mask + 1, sizeof *slots);
        texts = slots ? realloc(x->texts, cap * sizeof *texts) : NULL;
    }
    if (!texts) {
        free(slots);
        return fail(e, ST_NOMEM, "out of memory for %u texts", x->n);
    }
    for (uint32_t i = 0; x->slots && i <= x->slot_mask; i++) {
        uint32_t to = x->slots[i].hash & mask;
        if (x->slots[i].number == 0) continue;
        while (slots[to].number != 0) to = (to + 1) & mask;
        slots[to] = x->slots[i];
    }
    free(x->slots);
    x->slots = slots;
    x->texts = texts;
    x->cap = cap;
    x->slot_mask = mask;
    return ST_OK;
}

/* The slot of a text, or the empty one where it would be. */
static uint32_t slot_of(const struct text_index *x, const char *s, size_t len, uint32_t hash)
{
    for (uint32_t i = hash & x->slot_mask;; i = (i + 1) & x->slot_mask) {
        const struct text_slot *slot = &x->slots[i];
        if (slot->number == 0) return i;
        if (slot->hash != hash) continue;
        struct gguf_str text = x->texts[slot->number - 1];
        if (text.len == len && memcmp(text.data, s, len) == 0) return i;
    }
}

enum status text_index_add(struct text_index *x, struct gguf_str text, struct err *e)
{
    if (x->n == x->cap) {
        enum status st = grow(x, e);
        if (st != ST_OK) return st;
    }
    uint32_t hash = (uint32_t)text_hash(text.data, text.len);
    uint32_t slot = slot_of(x, text.data, text.len, hash);
    x->texts[x->n++] = text;
    x->slots[slot] = (struct text_slot){hash, (int32_t)x->n};
    return ST_OK;
}

int32_t text_index_find(const struct text_index *x, const char *s, size_t len)
{
    if (x->n == 0) return NO_TOKEN;
    return x->slots[slot_of(x, s, len, (uint32_t)text_hash(s, len))].number - 1;
}

void text_index_free(struct text_index *x)
{
    free(x->texts);
    free(x->slots);
    *x = (struct text_index){0};
}
