/* What the IQ types share: the grids of reference/spec/codebook.def, the letters of which they are
 * made, the sign bytes, and the sixteen levels of the 4-bit types.
 *
 * A grid entry is a 16-bit code; element j of it is one letter:
 *   iq2*     | j=7 : 2 | ... | j=0 : 2 |     letters 0 1 2 = 8 25 43
 *   iq3xxs   | j=3 : 3 | ... | j=0 : 3 |     letters 0..7 = 4 12 20 28 36 44 52 62
 *   iq3s     | j=3 : 3 | ... | j=0 : 3 |     letters 0..7 = 1 3 5 7 9 11 13 15
 *   iq1s     | j=7 : 2 | ... | j=0 : 2 |     letters 0 1 2 = -1 0 1
 */
#ifndef DECODE_CODEBOOK_H
#define DECODE_CODEBOOK_H

#include "prelude.h"

DEC_TABLE uint16_t dec_iq2xxs_codes[256] = {
#define CODEBOOK_IQ2XXS
#include "spec/codebook.def"
};

DEC_TABLE uint16_t dec_iq2xs_codes[512] = {
#define CODEBOOK_IQ2XS
#include "spec/codebook.def"
};

DEC_TABLE uint16_t dec_iq2s_codes[1024] = {
#define CODEBOOK_IQ2S
#include "spec/codebook.def"
};

DEC_TABLE uint16_t dec_iq3xxs_codes[256] = {
#define CODEBOOK_IQ3XXS
#include "spec/codebook.def"
};

DEC_TABLE uint16_t dec_iq3s_codes[512] = {
#define CODEBOOK_IQ3S
#include "spec/codebook.def"
};

DEC_TABLE uint16_t dec_iq1s_codes[2048] = {
#define CODEBOOK_IQ1S
#include "spec/codebook.def"
};

/* Four levels, each plus 128, as the bytes of a word: looked up by shifts, in any vector width. */
#define DEC_LEVELS(a, b, c, d)                                                                     \
    ((uint32_t)((a) + 128) | (uint32_t)((b) + 128) << 8 | (uint32_t)((c) + 128) << 16 |            \
     (uint32_t)((d) + 128) << 24)

/* b if bit is 1, a if it is 0, without a branch. */
DEC_FN uint32_t dec_select(uint32_t bit, uint32_t a, uint32_t b)
{
    return a ^ ((a ^ b) & (0u - bit));
}

DEC_FN float dec_iq4_level(uint32_t code)
{
    uint32_t second = code >> 2 & 1u;
    uint32_t negative =
        dec_select(second, DEC_LEVELS(-127, -104, -83, -65), DEC_LEVELS(-49, -35, -22, -10));
    uint32_t positive = dec_select(second, DEC_LEVELS(1, 13, 25, 38), DEC_LEVELS(53, 69, 89, 113));
    uint32_t levels = dec_select(code >> 3 & 1u, negative, positive);
    return dec_code(dec_field(levels, 8 * (code & 3u), 255), 128);
}

/* Seven sign bits and an eighth that makes their number even. */
DEC_FN uint32_t dec_signs7(uint32_t code)
{
    uint32_t parity = code ^ code >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return code | (parity & 1u) << 7;
}

DEC_FN float dec_sign(uint32_t signs, uint32_t j)
{
    return signs >> j & 1u ? -1.0f : 1.0f;
}

/* out[j] = (scale * letter_j) * sign_j, 8 letters of a 2-bit grid. */
DEC_FN void dec_iq2_group(uint32_t code, uint32_t signs, float scale, float *out)
{
    DEC_VECTOR
    for (uint32_t j = 0; j < 8; j++) {
        uint32_t letter = code >> 2 * j & 3u;
        out[j] = scale * dec_code(8u + 17u * letter + (letter >> 1), 0) * dec_sign(signs, j);
    }
}

/* The same for two entries of four letters of iq3xxs. */
DEC_FN void dec_iq3xxs_group(uint32_t code0, uint32_t code1, uint32_t signs, float scale,
                             float *out)
{
    uint32_t code = code0 | code1 << 12;
    DEC_VECTOR
    for (uint32_t j = 0; j < 8; j++) {
        uint32_t letter = code >> 3 * j & 7u;
        uint32_t level = 4u + 8u * letter + 2u * (letter / 7u);
        out[j] = scale * dec_code(level, 0) * dec_sign(signs, j);
    }
}

/* The same for iq3s. */
DEC_FN void dec_iq3s_group(uint32_t code0, uint32_t code1, uint32_t signs, float scale, float *out)
{
    uint32_t code = code0 | code1 << 12;
    DEC_VECTOR
    for (uint32_t j = 0; j < 8; j++) {
        uint32_t letter = code >> 3 * j & 7u;
        out[j] = scale * dec_code(1u + 2u * letter, 0) * dec_sign(signs, j);
    }
}

/* out[j] = scale * (letter_j + delta), delta = -1/8 or 1/8. */
DEC_FN void dec_iq1_group(uint32_t code, uint32_t negative, float scale, float *out)
{
    float delta = negative ? -0.125f : 0.125f;
    DEC_VECTOR
    for (uint32_t j = 0; j < 8; j++) out[j] = scale * (dec_code(code >> 2 * j & 3u, 1) + delta);
}

#endif
