/* Q1_0: d f16 @0 | qs[16] @2; bit i % 8 of byte i / 8 is element i.
 *   y = bit ? d : -d */
#define GROUP 128u

vec2 scales(uint a, uint g) { return vec2(f16(a), 0.0); }

void quants(uint a, uint g, out float q[8])
{
    const uint b = u8(a + 2u + g);
    [[unroll]] for (uint j = 0u; j < 8u; j++) q[j] = (b >> j & 1u) != 0u ? 1.0 : -1.0;
}
