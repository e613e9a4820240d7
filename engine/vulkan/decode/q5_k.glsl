/* Q5_K: d f16 @0 | dmin f16 @2 | S[12] @4 | qh[32] @16 | qs[128] @48. As Q4_K, and bit s of qh
 * byte i % 32 is bit 4 of the element i of sub-block s.
 *   y = (d * sc) * q - dmin * mn */
#define GROUP 32u
#define HAS_MIN

/* S[12], 6-bit pairs of sub-block s: bytes 0-3 and 4-7 hold scales and minima 0-3 in their low 6
 * bits; bytes 8-11 the low nibbles of scales and minima 4-7, whose high 2 bits are the top bits of
 * bytes 0-3 and 4-7. */
vec2 scales(uint a, uint g)
{
    const uint dm = u32_aligned(a), s = g >> 2, t = 8u * (s & 3u);
    const uint s0 = u32_aligned(a + 4u) >> t & 255u, s1 = u32_aligned(a + 8u) >> t & 255u;
    const uint s2 = u32_aligned(a + 12u) >> t & 255u;
    const uint sc = s < 4u ? s0 & 63u : (s2 & 15u) | s0 >> 6 << 4;
    const uint mn = s < 4u ? s1 & 63u : s2 >> 4 | s1 >> 6 << 4;
    return vec2(half_float(dm & 65535u) * float(sc), half_float(dm >> 16) * float(mn));
}

void quants(uint a, uint g, out float q[8])
{
    const uint l = 8u * (g & 3u), p = a + 48u + 32u * (g >> 3) + l, s = g >> 2;
    const uvec2 low = uvec2(u32_aligned(p), u32_aligned(p + 4u)) >> (g & 4u) & 0x0f0f0f0fu;
    const uvec2 high = uvec2(u32_aligned(a + 16u + l), u32_aligned(a + 20u + l)) >> s & 0x01010101u;
    const uvec2 v = low | high << 4;
    [[unroll]] for (uint j = 0u; j < 4u; j++) {
        q[j] = float(bitfieldExtract(v.x, int(8u * j), 8));
        q[j + 4u] = float(bitfieldExtract(v.y, int(8u * j), 8));
    }
}
