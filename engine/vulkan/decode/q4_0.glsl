/* Q4_0: d f16 @0 | qs[16] @2; byte j holds element j (low nibble) and j + 16 (high nibble).
 *   y = (q - 8) * d */
#define GROUP 32u

vec2 scales(uint a, uint g) { return vec2(f16(a), 0.0); }

void quants(uint a, uint g, out float q[8])
{
    const uint p = a + 2u + 8u * (g & 1u);
    nibbles8(uvec2(u32(p), u32(p + 4u)), 4u * (g >> 1), -8.0, q);
}
