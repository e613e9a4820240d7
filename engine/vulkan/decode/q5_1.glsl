/* Q5_1: d f16 @0 | m f16 @2 | qh[4] @4 | qs[16] @8; bits as in Q5_0.
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
    const uint p = a + 8u + 8u * (g & 1u), high = u32_aligned(a + 4u) >> (8u * g);
    nibbles8(uvec2(u32_aligned(p), u32_aligned(p + 4u)), 4u * (g >> 1), 0.0, q);
    [[unroll]] for (uint j = 0u; j < 8u; j++) q[j] += float((high >> j & 1u) << 4);
}
