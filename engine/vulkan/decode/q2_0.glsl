/* Q2_0: d f16 @0 | qs[16] @2; four consecutive elements per byte.
 *   y = (q - 1) * d */
#define GROUP 64u

vec2 scales(uint a, uint g) { return vec2(f16(a), 0.0); }

void quants(uint a, uint g, out float q[8])
{
    const uint w = u16(a + 2u + 2u * g);
    [[unroll]] for (uint j = 0u; j < 8u; j++) q[j] = float(w >> (2u * j) & 3u) - 1.0;
}
