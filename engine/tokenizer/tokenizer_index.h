/* Texts by number and numbers by text. */
#ifndef TOKENIZER_INDEX_H
#define TOKENIZER_INDEX_H

#include "engine/gguf/gguf.h"

enum { NO_TOKEN = -1 };

/* Zero to begin with; texts are views that the caller keeps. */
struct text_index {
    struct gguf_str *texts; /* (n) */
    struct text_slot *slots;
    uint32_t n, cap, slot_mask;
};

uint64_t text_hash(const char *s, size_t len);
/* Adds a text as number n; of equal ones the last is found. */
enum status text_index_add(struct text_index *x, struct gguf_str text, struct err *e);
/* The number of a text, or NO_TOKEN. */
int32_t text_index_find(const struct text_index *x, const char *s, size_t len);
void text_index_free(struct text_index *x);

#endif
