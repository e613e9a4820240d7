/* IQ3_XXS: d f16 @0 | index[64] @2 | a[8] u32 @66; an index per four elements; in the word of 32
 * elements bits 7l .. 7l+6 the sign code of eight, bits 28-31 the scale n.
 *   y = (d * (0.5 + n) * 0.5) * grid * sign; letters 4 12 20 28 36 44 52 62 */
#define GROUP 32u

vec2 scales(uint a, uint g)
{
    const uint n = u16(a + 68u + 4u * (g >> 2)) >> 12;
    return vec2(f16(a) * (0.5 + float(n)) * 0.5, 0.0);
}

void quants(uint a, uint g, out float q[8])
{
    const uint signs = signs_of(u32(a + 66u + 4u * (g >> 2)) >> (7u * (g & 3u)) & 127u);
    const uint index = u16(a + 2u + 2u * g);
    const uint code = table_code(GRID_IQ3XXS + (index & 255u)) |
                      table_code(GRID_IQ3XXS + (index >> 8)) << 12;
    [[unroll]] for (uint j = 0u; j < 8u; j++) {
        const uint l = code >> (3u * j) & 7u;
        const float v = float(4u + 8u * l + (l == 7u ? 2u : 0u));
        q[j] = (signs >> j & 1u) != 0u ? -v : v;
    }
}
