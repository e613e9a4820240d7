/* The tables of the IQ and FP4 types: grids of 4 or 8 small values, and sets of 16 levels. See
 * reference/spec/tensor-types.md, "Codebooks". */
#ifndef CODEBOOK_H
#define CODEBOOK_H

#include <stddef.h>
#include <stdint.h>

/* A grid is kept packed, as spec/codebook.def has it: one code per entry, element j of the entry
 * is letter (code >> bits*j) & (2^bits - 1). */
struct ref_grid {
    const uint16_t *codes; /* (n_entries) */
    size_t n_entries;
    size_t n_elems;    /* elements of an entry: 4 or 8 */
    unsigned bits;     /* of a letter: 2 or 3 */
    int8_t letters[8]; /* the alphabet, in rising order */
};

extern const struct ref_grid ref_grid_iq2xxs, ref_grid_iq2xs, ref_grid_iq2s; /* 8 of {8,25,43} */
extern const struct ref_grid ref_grid_iq3xxs, ref_grid_iq3s;                 /* 4 of 8 letters */
extern const struct ref_grid ref_grid_iq1s;                                  /* 8 of {-1,0,1} */

/* Element j of entry idx. */
static inline int ref_grid_at(const struct ref_grid *g, size_t idx, size_t j)
{
    return g->letters[(g->codes[idx] >> (g->bits * j)) & ((1u << g->bits) - 1)];
}

extern const int8_t ref_levels_iq4nl[16]; /* of IQ4_NL and IQ4_XS */
extern const int8_t ref_levels_fp4[16];   /* E2M1 values, doubled; code 8 (-0) is 0 */

/* Eight signs of even parity, stored as the seven bits k: bit 7 of the result is the xor of the
 * others. */
static inline unsigned ref_even_signs(unsigned k)
{
    unsigned p = k ^ k >> 4;
    p ^= p >> 2;
    p ^= p >> 1;
    return k | (p & 1) << 7;
}

#endif
