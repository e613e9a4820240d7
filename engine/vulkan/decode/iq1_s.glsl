/* IQ1_S: d f16 @0 | index[32] @2 | qh[8] u16 @34; in the half of 32 elements bits 3l .. 3l+2 are
 * index bits 8-10 of group l, bits 12-14 the scale n, bit 15 the sign of delta.
 *   y = (d * (2n + 1)) * (grid + delta); letters -1 0 1; delta 1/8 */
#define GROUP 32u

vec2 scales(uint a, uint g)
{
    const uint n = u16(a + 34u + 2u * (g >> 2)) >> 12 & 7u;
    return vec2(f16(a) * float(2u * n + 1u), 0.0);
}

void quants(uint a, uint g, out float q[8])
{
    const uint h = u16(a + 34u + 2u * (g >> 2)), high = h >> (3u * (g & 3u)) & 7u;
    const uint code = table_code(GRID_IQ1S + (u8(a + 2u + g) | high << 8));
    const float bias = (h & 0x8000u) != 0u ? -1.125 : -0.875;
    [[unroll]] for (uint j = 0u; j < 8u; j++) q[j] = float(code >> (2u * j) & 3u) + bias;
}
