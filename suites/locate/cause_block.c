/* Faults of block decoders, as changes of the bytes that a right decoder then reads wrongly. */
#include "locate/cause_priv.h"

#include <string.h>

struct layout {
    enum tensor_type type;
    int d, m, scales, n_scales, high, n_high, q, n_q;
    bool nibbles;
};

static const struct layout layouts[] = {
#define LAYOUT(type, d, m, scales, n_scales, high, n_high, q, n_q, nibbles)                        \
    {TYPE_##type, d, m, scales, n_scales, high, n_high, q, n_q, nibbles},
#include "locate/cause_block.def"
#undef LAYOUT
};

static const struct layout *layout_of(enum tensor_type type)
{
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i].type == type) return &layouts[i];
    return NULL;
}

static bool swap_nibbles(enum tensor_type type, uint8_t *row, size_t n)
{
    const struct layout *l = layout_of(type);
    const size_t bytes = type_by_id(type)->block_bytes;
    if (!l || !l->nibbles) return false;
    for (size_t b = 0; b < n; b++)
        for (int i = 0; i < l->n_q; i++) {
            uint8_t *q = row + b * bytes + l->q + i;
            *q = (uint8_t)(*q >> 4 | *q << 4);
        }
    return true;
}

/* Element 2j in the low and 2j+1 in the high half of byte j, where j and j + half belong. */
static bool pair_nibbles(enum tensor_type type, uint8_t *row, size_t n)
{
    const struct layout *l = layout_of(type);
    const size_t bytes = type_by_id(type)->block_bytes;
    if (!l || !l->nibbles || type == TYPE_Q6_K || type == TYPE_NVFP4) return false;
    const int half = l->n_q <= 16 ? l->n_q : 32;
    for (size_t b = 0; b < n; b++)
        for (int at = 0; at < l->n_q; at += half) {
            uint8_t *q = row + b * bytes + l->q + at, old[32], one[64];
            memcpy(old, q, (size_t)half);
            for (int i = 0; i < 2 * half; i++) one[i] = (uint8_t)(old[i / 2] >> 4 * (i % 2) & 15);
            for (int i = 0; i < half; i++) q[i] = (uint8_t)(one[i] | one[i + half] << 4);
        }
    return true;
}

static bool set_zero(enum tensor_type type, uint8_t *row, size_t n, int at, int count)
{
    const size_t bytes = type_by_id(type)->block_bytes;
    if (at < 0) return false;
    for (size_t b = 0; b < n; b++) memset(row + b * bytes + at, 0, (size_t)count);
    return true;
}

static bool drop_minimum(enum tensor_type type, uint8_t *row, size_t n)
{
    const struct layout *l = layout_of(type);
    return l && set_zero(type, row, n, l->m, 2);
}

static bool drop_high_bits(enum tensor_type type, uint8_t *row, size_t n)
{
    const struct layout *l = layout_of(type);
    return l && set_zero(type, row, n, l->high, l->n_high);
}

static bool flip_minimum(enum tensor_type type, uint8_t *row, size_t n)
{
    const struct layout *l = layout_of(type);
    if (!l || l->m < 0) return false;
    for (size_t b = 0; b < n; b++)
        row[b * type_by_id(type)->block_bytes + (size_t)l->m + 1] ^= 0x80;
    return true;
}

static bool swap_scale_and_minimum(enum tensor_type type, uint8_t *row, size_t n)
{
    const struct layout *l = layout_of(type);
    if (!l || l->m < 0) return false;
    for (size_t b = 0; b < n; b++) {
        uint8_t *block = row + b * type_by_id(type)->block_bytes, d[2];
        memcpy(d, block + l->d, 2);
        memcpy(block + l->d, block + l->m, 2);
        memcpy(block + l->m, d, 2);
    }
    return true;
}

static bool unit_scale(enum tensor_type type, uint8_t *row, size_t n)
{
    const struct layout *l = layout_of(type);
    if (!l || l->d < 0) return false;
    for (size_t b = 0; b < n; b++) {
        uint8_t *d = row + b * type_by_id(type)->block_bytes + l->d;
        d[0] = 0x00, d[1] = 0x3c;
    }
    return true;
}

static bool swap_scale_bytes(enum tensor_type type, uint8_t *row, size_t n)
{
    const struct layout *l = layout_of(type);
    if (!l || l->d < 0) return false;
    for (size_t b = 0; b < n; b++) {
        uint8_t *d = row + b * type_by_id(type)->block_bytes + l->d, low = d[0];
        d[0] = d[1], d[1] = low;
    }
    return true;
}

static bool scale_of_block_before(enum tensor_type type, uint8_t *row, size_t n)
{
    const struct layout *l = layout_of(type);
    const size_t bytes = type_by_id(type)->block_bytes;
    if (!l || l->d < 0 || n < 2) return false;
    for (size_t b = n; b-- > 1;) memcpy(row + b * bytes + l->d, row + (b - 1) * bytes + l->d, 2);
    return true;
}

static bool reverse_blocks(enum tensor_type type, uint8_t *row, size_t n)
{
    const size_t bytes = type_by_id(type)->block_bytes;
    uint8_t held[512];
    if (n < 2 || bytes > sizeof held || type_by_id(type)->block_elems == 1) return false;
    for (size_t a = 0, b = n - 1; a < b; a++, b--) {
        memcpy(held, row + a * bytes, bytes);
        memcpy(row + a * bytes, row + b * bytes, bytes);
        memcpy(row + b * bytes, held, bytes);
    }
    return true;
}

/* ---- the 6-bit scales of Q4_K and Q5_K ------------------------------------------------------- */

struct scales {
    uint8_t sc[8], mn[8];
};

static void unpack(const uint8_t *p, struct scales *s)
{
    for (int i = 0; i < 4; i++) {
        s->sc[i] = p[i] & 63;
        s->mn[i] = p[i + 4] & 63;
        s->sc[i + 4] = (uint8_t)((p[i + 8] & 15) | p[i] >> 6 << 4);
        s->mn[i + 4] = (uint8_t)(p[i + 8] >> 4 | p[i + 4] >> 6 << 4);
    }
}

static void pack(const struct scales *s, uint8_t *p)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)((s->sc[i] & 63) | s->sc[i + 4] >> 4 << 6);
        p[i + 4] = (uint8_t)((s->mn[i] & 63) | s->mn[i + 4] >> 4 << 6);
        p[i + 8] = (uint8_t)((s->sc[i + 4] & 15) | (s->mn[i + 4] & 15) << 4);
    }
}

static bool change_scales(enum tensor_type type, uint8_t *row, size_t n,
                          void (*change)(const uint8_t *p, struct scales *s))
{
    if (type != TYPE_Q4_K && type != TYPE_Q5_K) return false;
    for (size_t b = 0; b < n; b++) {
        uint8_t *p = row + b * type_by_id(type)->block_bytes + 4;
        struct scales s;
        unpack(p, &s);
        change(p, &s);
        pack(&s, p);
    }
    return true;
}

static void low_bits_only(const uint8_t *p, struct scales *s)
{
    (void)p;
    for (int i = 4; i < 8; i++) s->sc[i] &= 15, s->mn[i] &= 15;
}

static void low_bits_of_scales(const uint8_t *p, struct scales *s)
{
    (void)p;
    for (int i = 4; i < 8; i++) s->sc[i] &= 15;
}

static void consecutive(const uint8_t *p, struct scales *s)
{
    for (int i = 4; i < 8; i++) s->sc[i] = p[i] & 63, s->mn[i] = p[i + 4] & 63;
}

static void crossed(const uint8_t *p, struct scales *s)
{
    for (int i = 4; i < 8; i++) {
        s->sc[i] = (uint8_t)((s->sc[i] & 15) | p[i] >> 6 << 4);
        s->mn[i] = (uint8_t)((s->mn[i] & 15) | p[i - 4] >> 6 << 4);
    }
}

static void of_next(const uint8_t *p, struct scales *s)
{
    const struct scales old = *s;
    (void)p;
    for (int i = 0; i < 8; i++) s->sc[i] = old.sc[(i + 1) % 8];
}

static void swapped(const uint8_t *p, struct scales *s)
{
    const struct scales old = *s;
    (void)p;
    for (int i = 0; i < 8; i++) s->sc[i] = old.mn[i], s->mn[i] = old.sc[i];
}

#define SCALES(name)                                                                               \
    static bool scales_##name(enum tensor_type type, uint8_t *row, size_t n)                       \
    {                                                                                              \
        return change_scales(type, row, n, name);                                                  \
    }
SCALES(low_bits_only)
SCALES(low_bits_of_scales)
SCALES(consecutive)
SCALES(crossed)
SCALES(of_next)
SCALES(swapped)
#undef SCALES

const struct block_fault cause_block_faults[] = {
    {"nibbles swapped: high and low half of each byte", swap_nibbles},
    {"nibbles taken as neighbours (2j, 2j+1) instead of halves of a block", pair_nibbles},
    {"minimum ignored", drop_minimum},
    {"minimum with the wrong sign", flip_minimum},
    {"scale d and minimum dmin swapped", swap_scale_and_minimum},
    {"scale d ignored", unit_scale},
    {"bytes of the scale d swapped", swap_scale_bytes},
    {"scale d of the block before", scale_of_block_before},
    {"high bits of the quants ignored", drop_high_bits},
    {"blocks of a row in reverse order", reverse_blocks},
    {"top bits of the 6-bit scales and minima dropped in sub-blocks 4..7", scales_low_bits_only},
    {"top bits of the 6-bit scales dropped in sub-blocks 4..7", scales_low_bits_of_scales},
    {"6-bit scales read as consecutive bytes in sub-blocks 4..7", scales_consecutive},
    {"high bits of scales and minima crossed in sub-blocks 4..7", scales_crossed},
    {"scale of the next sub-block", scales_of_next},
    {"scales and minima of sub-blocks swapped", scales_swapped},
};
const size_t cause_n_block_faults = sizeof cause_block_faults / sizeof *cause_block_faults;
