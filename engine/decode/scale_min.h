/* The 6-bit scales and mins that Q4_K and Q5_K pack into 12 bytes, one pair per 32 elements.
 *
 *   byte    bits 7-6               bits 5-0
 *   0..3    scale s+4, bits 5-4    scale s
 *   4..7    min s, bits 5-4        min s-4           (s = 4..7)
 *   8..11   bits 7-4: min s-4, bits 3-0; bits 3-0: scale s-4, bits 3-0  (s = 8..11)
 */
#ifndef DECODE_SCALE_MIN_H
#define DECODE_SCALE_MIN_H

#include "prelude.h"

DEC_FN uint32_t dec_scale6(const uint8_t *s12, uint32_t s)
{
    if (s < 4) return s12[s] & 63u;
    return (s12[s + 4] & 15u) | (uint32_t)(s12[s - 4] >> 6) << 4;
}

DEC_FN uint32_t dec_min6(const uint8_t *s12, uint32_t s)
{
    if (s < 4) return s12[s + 4] & 63u;
    return (uint32_t)(s12[s + 4] >> 4) | (uint32_t)(s12[s] >> 6) << 4;
}

#endif
