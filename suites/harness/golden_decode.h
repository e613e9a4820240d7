/* Decoding on a case's subject, and a golden file's blocks against its values. */
#ifndef GOLDEN_DECODE_H
#define GOLDEN_DECODE_H

#include "engine/gguf/gguf.h"
#include "harness/harness.h"

/* Decodes n elements of blocks on the subject of the case into out (n), and notes what ran on the
 * device. False, after failing or skipping the case, if that is impossible. */
bool golden_decode_blocks(struct test *t, const struct test_case *c, enum tensor_type type,
                          const uint8_t *blocks, size_t n, float *out);

/* Decodes the tensor SET.blocks of a golden file and compares every bit with SET.values. */
void golden_decode_set(struct test *t, const struct test_case *c, const struct gguf *g,
                       const char *set);

#endif
