/* IQ2_XXS: d f16 @0 | 8 groups of 8 bytes @2: four grid indices, then a word: bits 7l .. 7l+6 the
 * sign code of eight elements, bits 28-31 the scale n.
 *   y = (d * (0.5 + n) * 0.25) * grid * sign */
#define GROUP 32u

vec2 scales(uint a, uint g)
{
    const uint n = u16(a + 8u + 8u * (g >> 2)) >> 12;
    return vec2(f16(a) * (0.5 + float(n)) * 0.25, 0.0);
}

void quants(uint a, uint g, out float q[8])
{
    const uint p = a + 2u + 8u * (g >> 2), l = g & 3u;
    const uint signs = signs_of(u32(p + 4u) >> (7u * l) & 127u);
    grid2_8(table_code(GRID_IQ2XXS + u8(p + l)), signs, q);
}
