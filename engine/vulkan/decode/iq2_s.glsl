/* IQ2_S: d f16 @0 | index[32] @2 | signs[32] @34 | qh[8] @66 | scales[8] @74; index bits 8-9 of
 * group l of 32 in bits 2l of qh; a scale nibble per 16.
 *   y = (d * (0.5 + n) * 0.25) * grid * sign */
#define GROUP 16u

vec2 scales(uint a, uint g)
{
    const uint n = nibble(u8(a + 74u + (g >> 2)), g >> 1 & 1u);
    return vec2(f16(a) * (0.5 + float(n)) * 0.25, 0.0);
}

void quants(uint a, uint g, out float q[8])
{
    const uint high = u8(a + 66u + (g >> 2)) >> (2u * (g & 3u)) & 3u;
    grid2_8(table_code(GRID_IQ2S + (u8(a + 2u + g) | high << 8)), u8(a + 34u + g), q);
}
