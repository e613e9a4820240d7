/* E2M1, the 4-bit float of MXFP4 and NVFP4, doubled so that it is an integer.
 *
 *   | sign 1 | e 2 | m 1 |    2 * value = (-1)^sign * (e == 0 ? m : (2 + m) << (e - 1))
 *
 * that is 0 1 2 3 4 6 8 12 and their negatives. Code 8 is +0, as everywhere this table is used.
 */
#ifndef DECODE_FP4_H
#define DECODE_FP4_H

#include "prelude.h"

DEC_FN float dec_fp4x2(uint32_t code)
{
    uint32_t e = code >> 1 & 3u, normal = e != 0, sign = code >> 3 & 1u;
    uint32_t magnitude = ((code & 1u) | normal << 1) << (e - normal);
    return (float)(int32_t)((magnitude ^ (0u - sign)) + sign);
}

#endif
