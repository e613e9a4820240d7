/* IQ4_XS: d f16 @0 | scales_h u16 @2 | scales_l[4] @4 | qs[128] @8; a group of 32 elements has 16
 * bytes, packed as in Q4_0, and a 6-bit scale: nibble of scales_l, pair of scales_h.
 *   y = (d * (ls - 32)) * nl4(q) */
#define GROUP 32u

vec2 scales(uint a, uint g)
{
    const uint dh = u32_aligned(a), s = g >> 2;
    const uint ls = (u32_aligned(a + 4u) >> (4u * s) & 15u) | (dh >> (16u + 2u * s) & 3u) << 4;
    return vec2(half_float(dh & 65535u) * (float(ls) - 32.0), 0.0);
}

void quants(uint a, uint g, out float q[8])
{
    const uint p = a + 8u + 16u * (g >> 2) + 8u * (g & 1u);
    const uvec2 w = uvec2(u32_aligned(p), u32_aligned(p + 4u)) >> (2u * (g & 2u));
    [[unroll]] for (uint j = 0u; j < 4u; j++) {
        q[j] = nl4(w.x >> (8u * j) & 15u);
        q[j + 4u] = nl4(w.y >> (8u * j) & 15u);
    }
}
