/* F64: binary64, little-endian, rounded to binary32 (nearest, ties to even).
 *
 *   | bits u64 |    y = (float)bits
 */
#ifndef DECODE_F64_H
#define DECODE_F64_H

#include "prelude.h"

DEC_FN float decode1_f64(const uint8_t *row, uint32_t i)
{
    union {
        uint64_t u;
        double d;
    } v;
    const uint8_t *p = row + 8 * (size_t)i;
    v.u = (uint64_t)dec_u32(p) | (uint64_t)dec_u32(p + 4) << 32;
    return (float)v.d;
}

DEC_PLAIN(f64, 8)

#endif
