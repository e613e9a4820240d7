/* Q4_K: d f16 @0 | dmin f16 @2 | S[12] @4 | qs[128] @16. Each run of 32 bytes holds sub-block 2k
 * in its low and 2k + 1 in its high nibbles.
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
    const uint p = a + 16u + 32u * (g >> 3) + 8u * (g & 3u);
    nibbles8(uvec2(u32_aligned(p), u32_aligned(p + 4u)), g & 4u, 0.0, q);
}
