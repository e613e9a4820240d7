/* Q4_1: d f16 @0 | m f16 @2 | qs[16] @4; nibbles as in Q4_0.
 *   y = q * d + m */
#define GROUP 32u
#define HAS_MIN

vec2 scales(uint a, uint g)
{
    const uint dm = u32_aligned(a);
    return vec2(half_float(dm & 65535u), -half_float(dm >> 16));
}

void quants(uint a, uint g, out float q[8])
{
    const uint p = a + 4u + 8u * (g & 1u);
    nibbles8(uvec2(u32_aligned(p), u32_aligned(p + 4u)), 4u * (g >> 1), 0.0, q);
}
