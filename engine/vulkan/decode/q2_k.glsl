/* Q2_K: scales[16] @0 | qs[64] @16 | d f16 @80 | dmin f16 @82. Half n of the block has 32 bytes;
 * plane j (2 bits at 2j) of them is elements 128n + 32j ..
 *   y = (d * (c & 15)) * q - dmin * (c >> 4), c the scale byte of 16 elements */
#define GROUP 16u
#define HAS_MIN

vec2 scales(uint a, uint g)
{
    const uint c = u8(a + (g >> 1)), dm = u32_aligned(a + 80u);
    return vec2(half_float(dm & 65535u) * float(c & 15u), half_float(dm >> 16) * float(c >> 4));
}

void quants(uint a, uint g, out float q[8])
{
    const uint p = a + 16u + 32u * (g >> 4) + 8u * (g & 3u);
    pairs8(uvec2(u32_aligned(p), u32_aligned(p + 4u)), g >> 1 & 6u, 0.0, q);
}
