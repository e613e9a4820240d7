/* F32: binary32, little-endian.
 *
 *   | bits u32 |    y = bits
 */
#ifndef DECODE_F32_H
#define DECODE_F32_H

#include "prelude.h"

DEC_FN float decode1_f32(const uint8_t *row, uint32_t i)
{
    return dec_bits(dec_u32(row + 4 * (size_t)i));
}

DEC_PLAIN(f32, 4)

#endif
