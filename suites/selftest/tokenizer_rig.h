/* What the suite of the tokenizer stands on: vocabularies with changed metadata, golden files, and
 * comparisons. */
#ifndef TOKENIZER_RIG_H
#define TOKENIZER_RIG_H

#include "harness/harness.h"
#include "engine/tokenizer/tokenizer.h"

#include <jansson.h>

/* A change to a vocabulary's metadata: a text, or a flag, or no such key. */
struct override {
    const char *key;
    const char *text;
    bool flag, removed;
};

/* A file of the vectors; NULL fails the case. */
json_t *rig_load_json(struct test *t, const char *name);
/* A vocabulary file with changed metadata. Close with gguf_close if true. */
bool rig_open_changed(struct test *t, const char *name, const struct override *o, size_t n,
                      struct gguf *out);
/* The tokenizer of an opened file; close with tokenizer_close. */
struct tokenizer *rig_tokenizer(struct test *t, const struct gguf *g);

/* Counts a comparison. */
void rig_count(struct test *t, bool good, size_t index);
/* want: array of ids. */
bool rig_ids_equal(const int32_t *ids, size_t n, const json_t *want);
void rig_check_ids(struct test *t, const struct tokenizer *k, struct gguf_str text, unsigned flags,
                   const json_t *want, size_t index);
/* What ids decode to; flags of tokenizer_decode. */
void rig_check_text(struct test *t, const struct tokenizer *k, const int32_t *ids, size_t n,
                    unsigned flags, struct gguf_str want, size_t index);
/* Encoding and decoding gives the text back, but that U+2581 and a space are the same to it: a
 * space behind the beginning of a character that never ends comes back as U+2581. */
void rig_check_roundtrip(struct test *t, const struct tokenizer *k, struct gguf_str text,
                         size_t index);

/* Bytes of a base64 string, in the test's memory. */
struct gguf_str rig_base64(struct test *t, const json_t *j);
/* The member whose key is the number i. */
const json_t *rig_by_number(const json_t *object, size_t i);

/* Adds the cases that go by golden files (tokenizer_golden.c). */
void rig_add_golden(struct case_list *l);
/* Adds the cases that measure (tokenizer_bench.c). */
void rig_add_bench(struct case_list *l);

#endif
