/* BF16: the upper half of a binary32, little-endian.
 *
 *   | s 1 | e 8 | m 7 |    y = bits << 16
 */
#ifndef DECODE_BF16_H
#define DECODE_BF16_H

#include "prelude.h"

DEC_FN float decode1_bf16(const uint8_t *row, uint32_t i)
{
    return dec_bits(dec_u16(row + 2 * (size_t)i) << 16);
}

DEC_PLAIN(bf16, 2)

#endif
