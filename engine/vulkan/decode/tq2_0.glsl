/* TQ2_0: qs[64] @0 | d f16 @64; 2-bit planes as in Q2_K.
 *   y = (q - 1) * d */
#define GROUP 256u

vec2 scales(uint a, uint g) { return vec2(f16(a + 64u), 0.0); }

void quants(uint a, uint g, out float q[8])
{
    const uint p = a + 32u * (g >> 4) + 8u * (g & 3u);
    pairs8(uvec2(u32(p), u32(p + 4u)), g >> 1 & 6u, -1.0, q);
}
