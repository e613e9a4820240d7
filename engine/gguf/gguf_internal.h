/* What the reader and the writer of GGUF share: the table of names, the limits, the size rules. */
#ifndef GGUF_INTERNAL_H
#define GGUF_INTERNAL_H

#include "engine/gguf/gguf.h"

/* Limits that ggml sets too, and the widest alignment that makes sense. */
enum { GGUF_MAX_COUNT = 1 << 30, GGUF_MAX_ALIGNMENT = 1 << 20, GGUF_DEFAULT_ALIGNMENT = 32 };

/* Names to numbers: open addressing; grows. The bytes of the names belong to the caller. */
struct gguf_slot {
    const char *name; /* NULL = free */
    size_t len, value;
};
struct gguf_index {
    struct gguf_slot *slots;
    size_t cap, n; /* cap: a power of two, at least twice n */
};

struct gguf_index *gguf_index_new(size_t expected);
void gguf_index_free(struct gguf_index *x);
/* Adds a name, or finds it: *value then becomes the one it was added with and *found is true.
 * False: no memory. */
bool gguf_index_add(struct gguf_index *x, struct gguf_str name, size_t *value, bool *found);
bool gguf_index_find(const struct gguf_index *x, struct gguf_str name, size_t *value);

/* n_elems and bytes of t from its type and its dims (the missing ones are 1). */
enum status gguf_tensor_measure(struct gguf_tensor *t, struct err *e);

/* Checks length and bytes of a key or of a tensor's name (what: "key", "tensor name"). */
enum status gguf_check_name(const char *what, struct gguf_str name, size_t max, struct err *e);

enum status gguf_check_alignment(const struct gguf_kv *kv, uint64_t *out, struct err *e);

/* The next multiple of a power of two; false if it does not fit. */
bool gguf_round_up(uint64_t n, uint64_t alignment, uint64_t *out);

bool gguf_str_is(struct gguf_str s, const char *text);

/* For messages: precision and text of "%.*s", cut to what a line can bear. */
int gguf_show(struct gguf_str s);

#endif
