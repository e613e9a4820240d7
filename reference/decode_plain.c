/* Decoders of the plain types: one little-endian number per value. */
#include "reference/decode_block.h"

#include <string.h>

/* F32   |x f32|      y = x, bit for bit */
void ref_decode_f32(const uint8_t *blocks, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = u32_at(blocks + i * BYTES_F32);
        memcpy(&out[i], &bits, sizeof bits);
    }
}

/* F16   |x f16|      y = x, exact */
void ref_decode_f16(const uint8_t *blocks, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = f16_at(blocks + i * BYTES_F16);
}

/* BF16  |x bf16|     y = x, exact: the upper half of a binary32 */
void ref_decode_bf16(const uint8_t *blocks, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = ref_bf16_to_f32((uint16_t)u16_at(blocks + i * BYTES_BF16));
    }
}

/* F64   |x f64|      y = x rounded to binary32 */
void ref_decode_f64(const uint8_t *blocks, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = blocks + i * BYTES_F64;
        uint64_t bits = (uint64_t)u32_at(p) | (uint64_t)u32_at(p + 4) << 32;
        double x;
        memcpy(&x, &bits, sizeof x);
        out[i] = (float)x;
    }
}
