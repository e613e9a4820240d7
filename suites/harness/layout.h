/* The layouts of blocks, bit by bit, and random blocks made with them; see layout.def. */
#ifndef LAYOUT_H
#define LAYOUT_H

#include "harness/harness.h"
#include "harness/random.h"

enum field_role {
    ROLE_CODE,
    ROLE_F16,
    ROLE_F32,
    ROLE_F64,
    ROLE_BF16,
    ROLE_E8M0,
    ROLE_UE4M3,
    ROLE_PIECE,
    ROLE_GRID,
    ROLE_PARITY,
    ROLE_TRIT,
    ROLE_NONE,
};

enum { LAYOUT_DIGITS = 4 };

struct layout_field {
    enum tensor_type type;
    const char *what;
    enum field_role role;
    uint16_t first, base, run, step;
    struct layout_digit {
        uint16_t count, bits, elems; /* count 0: no digit */
    } digits[LAYOUT_DIGITS];
};

/* The fields of a type, one after the other; *n of them. */
const struct layout_field *layout_of(enum tensor_type type, size_t *n);

/* Bits of the field; bit i of them: its place in the block and the first element it is about. */
size_t layout_bits(const struct layout_field *f);
void layout_bit(const struct layout_field *f, size_t i, uint32_t *bit, uint32_t *elem);

/* Blocks of random bits whose scales are as told. */
enum scale_kind {
    SCALE_normal,    /* finite, 2^-10 to 2^-3, both signs */
    SCALE_subnormal, /* binary16: a subnormal; other formats: near their smallest */
    SCALE_zero,      /* zeros of both signs; E8M0, which has none: its smallest useful value */
    SCALE_negative,  /* as normal, negative where there is a sign */
};
void layout_random(struct rng *r, enum tensor_type type, enum scale_kind kind, uint8_t *block);

#endif
