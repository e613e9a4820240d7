/* Unicode as far as tokenizers need it: classes of code points, simple mappings, and UTF-8 that
 * forgives what llama.cpp forgives. Tables: unicode_tables.c. */
#ifndef UNICODE_H
#define UNICODE_H

#include <stddef.h>
#include <stdint.h>

/* A set: by general category, but for SPACE, the property White_Space. */
enum unicode_class {
    UNICODE_LETTER = 1,
    UNICODE_NUMBER = 2,
    UNICODE_PUNCTUATION = 4,
    UNICODE_SYMBOL = 8,
    UNICODE_MARK = 16,
    UNICODE_SPACE = 32,
    UNICODE_INVISIBLE = 64, /* control, format, private use, surrogate */
};

enum { UNICODE_LAST = 0x10FFFF, UNICODE_REPLACEMENT = 0xFFFD, UNICODE_BLOCK_BITS = 7 };

struct unicode_pair {
    uint32_t from, to;
};

extern const uint16_t unicode_block_of[(UNICODE_LAST + 1) >> UNICODE_BLOCK_BITS];
extern const uint8_t unicode_blocks[][1 << UNICODE_BLOCK_BITS];
extern const struct unicode_pair unicode_lower_pairs[], unicode_base_pairs[]; /* by from */
extern const size_t unicode_n_lower_pairs, unicode_n_base_pairs;

/* Bits of enum unicode_class; 0 for what is unassigned. c <= UNICODE_LAST. */
static inline unsigned unicode_class(uint32_t c)
{
    return unicode_blocks[unicode_block_of[c >> UNICODE_BLOCK_BITS]]
                         [c & ((1u << UNICODE_BLOCK_BITS) - 1)];
}

/* One-to-one lower case. */
uint32_t unicode_lower(uint32_t c);
/* First code point of the canonical decomposition: the letter under accents. */
uint32_t unicode_base(uint32_t c);

/* The character at the front of len > 0 bytes; returns how many of them it takes. Overlong forms
 * and surrogates are taken as they are; a byte that begins no character is U+FFFD by itself. */
size_t utf8_decode(const char *s, size_t len, uint32_t *c);
/* Up to four bytes of c <= UNICODE_LAST at out; returns how many. */
size_t utf8_encode(uint32_t c, char *out);

#endif
