/* MXFP4: e u8 @0 | qs[16] @1; nibbles as in Q4_0, each an E2M1 code (doubled magnitudes).
 *   y = fp4(q) * 2^(e - 128); 17 bytes: blocks lie at any address */
#define GROUP 32u
#define OWN_BITS

vec2 scales(uint a, uint g)
{
    const uint e = u8(a);
    return vec2(uintBitsToFloat(e < 2u ? 0x200000u << e : (e - 1u) << 23), 0.0);
}

uvec2 codes(uint a, uint g)
{
    const uint p = a + 1u + 8u * (g & 1u);
    return uvec2(u32(p), u32(p + 4u)) >> (4u * (g >> 1));
}

void quants(uint a, uint g, out float q[8])
{
    const uvec2 w = codes(a, g);
    [[unroll]] for (uint j = 0u; j < 4u; j++) {
        q[j] = fp4(w.x >> (8u * j) & 15u);
        q[j + 4u] = fp4(w.y >> (8u * j) & 15u);
    }
}

/* The product by exponents: e < 2 and small codes give subnormals, large e infinity. */
uint value_bits(uint e, uint c)
{
    const float v = fp4(c);
    const uint bits = floatBitsToUint(v);
    if (v == 0.0) return bits;
    const int x = int(bits >> 23 & 255u) + int(e) - 128;
    const uint sign = bits & 0x80000000u, m = bits & 0x7fffffu;
    if (x >= 255) return sign | 0x7f800000u;
    if (x > 0) return sign | uint(x) << 23 | m;
    return sign | (m | 0x800000u) >> uint(1 - x); /* at most 2 places: nothing is lost */
}

void decode_bits(uint a, uint g, out uint bits[8])
{
    const uint e = u8(a);
    const uvec2 w = codes(a, g);
    [[unroll]] for (uint j = 0u; j < 4u; j++) {
        bits[j] = value_bits(e, w.x >> (8u * j) & 15u);
        bits[j + 4u] = value_bits(e, w.y >> (8u * j) & 15u);
    }
}
