/* Q3_K: hmask[32] @0 | qs[64] @32 | scales[12] @96 | d f16 @108. 2-bit planes as in Q2_K; bit
 * i / 32 of hmask byte i % 32 says "no -4".
 *   y = (d * (sc - 32)) * q; sc of sub-block s: low 4 bits in the nibbles of bytes 0-7, high 2 bits
 *   in the pairs of bytes 8-11 */
#define GROUP 16u

vec2 scales(uint a, uint g)
{
    const uint s = g >> 1;
    const uint lo = nibble(u8(a + 96u + (s & 7u)), s >> 3);
    const uint hi = u8(a + 104u + (s & 3u)) >> (2u * (s >> 2)) & 3u;
    return vec2(f16(a + 108u) * (float(lo | hi << 4) - 32.0), 0.0);
}

void quants(uint a, uint g, out float q[8])
{
    const uint l = 8u * (g & 3u), p = a + 32u + 32u * (g >> 4) + l;
    const uvec2 high = uvec2(u32(a + l), u32(a + l + 4u)) >> (g >> 2);
    pairs8(uvec2(u32(p), u32(p + 4u)), g >> 1 & 6u, -4.0, q);
    [[unroll]] for (uint j = 0u; j < 4u; j++) {
        q[j] += float((high.x >> (8u * j) & 1u) << 2);
        q[j + 4u] += float((high.y >> (8u * j) & 1u) << 2);
    }
}
