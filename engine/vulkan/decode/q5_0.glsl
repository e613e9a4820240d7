/* Q5_0: d f16 @0 | qh[4] @2 | qs[16] @6; nibbles as in Q4_0, bit i of qh is bit 4 of element i.
 *   y = (q - 16) * d */
#define GROUP 32u

vec2 scales(uint a, uint g) { return vec2(f16(a), 0.0); }

void quants(uint a, uint g, out float q[8])
{
    const uint p = a + 6u + 8u * (g & 1u), high = u32(a + 2u) >> (8u * g);
    nibbles8(uvec2(u32(p), u32(p + 4u)), 4u * (g >> 1), -16.0, q);
    [[unroll]] for (uint j = 0u; j < 8u; j++) q[j] += float((high >> j & 1u) << 4);
}
