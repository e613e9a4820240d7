/* IQ2_XS: d f16 @0 | w[32] u16 @2 | scales[8] @66; a half per eight elements: bits 0-8 grid index,
 * bits 9-15 sign code; a scale nibble per 16.
 *   y = (d * (0.5 + n) * 0.25) * grid * sign */
#define GROUP 16u

vec2 scales(uint a, uint g)
{
    const uint n = nibble(u8(a + 66u + (g >> 2)), g >> 1 & 1u);
    return vec2(f16(a) * (0.5 + float(n)) * 0.25, 0.0);
}

void quants(uint a, uint g, out float q[8])
{
    const uint w = u16(a + 2u + 2u * g);
    grid2_8(table_code(GRID_IQ2XS + (w & 511u)), signs_of(w >> 9), q);
}
