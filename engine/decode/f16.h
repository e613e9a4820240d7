/* F16: binary16, little-endian.
 *
 *   | s 1 | e 5 | m 10 |    y = e == 0 ? (-1)^s m 2^-24 : (-1)^s (1 + m/1024) 2^(e-15)
 *   e == 31: infinity if m == 0, else NaN
 */
#ifndef DECODE_F16_H
#define DECODE_F16_H

#include "prelude.h"

DEC_FN float decode1_f16(const uint8_t *row, uint32_t i)
{
    return dec_f16(row + 2 * (size_t)i);
}

DEC_PLAIN(f16, 2)

#endif
