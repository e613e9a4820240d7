/* Reading the table of layouts; see layout.h. */
#include "harness/layout.h"
#include "harness/random.h"

#include <string.h>

#define AT(byte) ((byte)*8)
#define FIELD(t, w, r, at, e, n, s, ...)                                                           \
    {.type = TYPE_##t,                                                                             \
     .what = w,                                                                                    \
     .role = ROLE_##r,                                                                             \
     .first = at,                                                                                  \
     .base = e,                                                                                    \
     .run = n,                                                                                     \
     .step = s,                                                                                    \
     .digits = {__VA_ARGS__}},
static const struct layout_field fields[] = {
#include "harness/layout.def"
};
enum { N_FIELDS = sizeof fields / sizeof *fields };

const struct layout_field *layout_of(enum tensor_type type, size_t *n)
{
    size_t first = 0;
    while (first < N_FIELDS && fields[first].type != type) first++;
    for (*n = 0; first + *n < N_FIELDS && fields[first + *n].type == type; ++*n) {}
    return fields + first;
}

size_t layout_bits(const struct layout_field *f)
{
    size_t n = 1;
    for (size_t k = 0; k < LAYOUT_DIGITS && f->digits[k].count; k++) n *= f->digits[k].count;
    return n;
}

void layout_bit(const struct layout_field *f, size_t i, uint32_t *bit, uint32_t *elem)
{
    *bit = f->first;
    *elem = f->base;
    for (size_t k = 0; k < LAYOUT_DIGITS && f->digits[k].count; k++) {
        uint32_t digit = (uint32_t)(i % f->digits[k].count);
        i /= f->digits[k].count;
        *bit += digit * f->digits[k].bits;
        *elem += digit * f->digits[k].elems;
    }
}

static void put_bit(uint8_t *block, uint32_t bit, uint64_t value)
{
    uint8_t mask = (uint8_t)(1u << bit % 8);
    block[bit / 8] = (uint8_t)((block[bit / 8] & ~mask) | (value & 1 ? mask : 0));
}

/* A float of e_bits and m_bits. */
static uint64_t number(struct rng *r, enum scale_kind kind, int e_bits, int m_bits)
{
    uint64_t bias = (1ull << (e_bits - 1)) - 1, sign = rng_below(r, 2);
    uint64_t mantissa = rng_u64(r) & ((1ull << m_bits) - 1);
    uint64_t exponent = bias - 10 + rng_below(r, 8);
    if (kind == SCALE_negative) sign = 1;
    if (kind == SCALE_zero) mantissa = exponent = 0;
    if (kind == SCALE_subnormal) {
        /* Wider formats stay where their products with activations are normal numbers. */
        exponent = e_bits > 5 ? bias - 100 : 0;
        mantissa |= 1;
    }
    return sign << (e_bits + m_bits) | exponent << m_bits | mantissa;
}

static uint64_t scale_bits(struct rng *r, enum field_role role, enum scale_kind kind)
{
    static const uint64_t least[] = {0x08, 0x01, 0x00, 0x88}, span[] = {0x58, 7, 1, 0x58};
    switch (role) {
    case ROLE_F16:
    case ROLE_PIECE:
        return number(r, kind, 5, 10);
    case ROLE_BF16:
        return number(r, kind, 8, 7);
    case ROLE_F32:
        return number(r, kind, 8, 23);
    case ROLE_F64:
        return number(r, kind, 11, 52);
    case ROLE_E8M0:
        return (kind == SCALE_normal || kind == SCALE_negative ? 118 : 28) + rng_below(r, 8);
    default: /* UE4M3; its sign means nothing */
        return least[kind] + rng_below(r, span[kind]);
    }
}

static void put_scales(struct rng *r, const struct layout_field *f, enum scale_kind kind,
                       uint8_t *block)
{
    size_t n = layout_bits(f), width = n;
    if (f->role == ROLE_UE4M3) width = 7;
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bit, elem;
        if (i % width == 0) value = scale_bits(r, f->role, kind);
        layout_bit(f, i, &bit, &elem);
        put_bit(block, bit, value >> i % width);
        if (f->role == ROLE_UE4M3 && i % width == 0) put_bit(block, bit + 7, value >> 7);
    }
}

void layout_random(struct rng *r, enum tensor_type type, enum scale_kind kind, uint8_t *block)
{
    size_t n, bytes = type_by_id(type)->block_bytes;
    const struct layout_field *f = layout_of(type, &n);
    for (size_t i = 0; i < bytes; i++) block[i] = (uint8_t)rng_u64(r);
    for (size_t i = 0; i < n; i++) {
        bool scale = f[i].role >= ROLE_F16 && f[i].role <= ROLE_PIECE;
        if (scale) put_scales(r, &f[i], kind, block);
    }
}
