/* IQ1_M: index[32] @0 | qh[16] @32 | scales[4] u16 @48. The top nibbles of the four halves make d
 * (f16); below them four 3-bit scales each, one per 16 elements. The nibble of qh per eight
 * elements: bits 0-2 index bits 8-10, bit 3 the sign of delta.
 *   y = (d * (2n + 1)) * (grid + delta); letters -1 0 1; delta 1/8 */
#define GROUP 16u

vec2 scales(uint a, uint g)
{
    const uint lo = u32_aligned(a + 48u), hi = u32_aligned(a + 52u), b = g >> 1;
    const uint d = (lo >> 12 & 15u) | (lo >> 28) << 4 | (hi >> 12 & 15u) << 8 | hi >> 28 << 12;
    const uint word = b < 8u ? lo : hi;
    const uint n = word >> (16u * (b >> 2 & 1u) + 3u * (b & 3u)) & 7u;
    return vec2(half_float(d) * float(2u * n + 1u), 0.0);
}

void quants(uint a, uint g, out float q[8])
{
    const uint t = nibble(u8(a + 32u + (g >> 1)), g & 1u);
    const uint code = table_code(GRID_IQ1S + (u8(a + g) | (t & 7u) << 8));
    const float bias = (t & 8u) != 0u ? -1.125 : -0.875;
    [[unroll]] for (uint j = 0u; j < 8u; j++) q[j] = float(code >> (2u * j) & 3u) + bias;
}
