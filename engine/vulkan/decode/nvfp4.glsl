/* NVFP4: D[4] UE4M3 @0 | qs[32] @4; sub-block s of 16 has the bytes 4+8s .., element r of it in
 * byte r % 8, low nibble for r < 8.
 *   y = fp4(q) * D / 2; D bits: unused 1 | exponent 4 | fraction 3; 0 and 0x7f are zero */
#define GROUP 16u

vec2 scales(uint a, uint g)
{
    const uint x = u8(a + (g >> 1)), e = x >> 3 & 15u, m = x & 7u;
    if (x == 0u || x == 0x7fu) return vec2(0.0);
    const float d = e == 0u ? float(m) * 0.0009765625 : uintBitsToFloat((e + 119u) << 23 | m << 20);
    return vec2(d, 0.0);
}

void quants(uint a, uint g, out float q[8])
{
    const uint p = a + 4u + 8u * (g >> 1);
    const uvec2 w = uvec2(u32_aligned(p), u32_aligned(p + 4u)) >> (4u * (g & 1u));
    [[unroll]] for (uint j = 0u; j < 4u; j++) {
        q[j] = fp4(w.x >> (8u * j) & 15u);
        q[j + 4u] = fp4(w.y >> (8u * j) & 15u);
    }
}
