/* IQ3_S: d f16 @0 | index[64] @2 | qh[8] @66 | signs[32] @74 | scales[4] @106; an index per four
 * elements, its bit 8 in qh; a scale nibble per 32.
 *   y = (d * (1 + 2n)) * grid * sign; letters 1 3 5 .. 15 */
#define GROUP 32u

vec2 scales(uint a, uint g)
{
    const uint n = nibble(u8(a + 106u + (g >> 3)), g >> 2 & 1u);
    return vec2(f16(a) * float(1u + 2u * n), 0.0);
}

void quants(uint a, uint g, out float q[8])
{
    const uint signs = u8(a + 74u + g), index = u16(a + 2u + 2u * g);
    const uint high = u8(a + 66u + (g >> 2)) >> (2u * (g & 3u));
    const uint code = table_code(GRID_IQ3S + ((index & 255u) | (high & 1u) << 8)) |
                      table_code(GRID_IQ3S + (index >> 8 | (high & 2u) << 7)) << 12;
    [[unroll]] for (uint j = 0u; j < 8u; j++) {
        const float v = float(1u + 2u * (code >> (3u * j) & 7u));
        q[j] = (signs >> j & 1u) != 0u ? -v : v;
    }
}
