/* IQ4_NL: d f16 @0 | qs[16] @2; nibbles as in Q4_0, each an index into 16 values.
 *   y = d * nl4(q) */
#define GROUP 32u

vec2 scales(uint a, uint g) { return vec2(f16(a), 0.0); }

void quants(uint a, uint g, out float q[8])
{
    const uint p = a + 2u + 8u * (g & 1u);
    const uvec2 w = uvec2(u32(p), u32(p + 4u)) >> (4u * (g >> 1));
    [[unroll]] for (uint j = 0u; j < 4u; j++) {
        q[j] = nl4(w.x >> (8u * j) & 15u);
        q[j + 4u] = nl4(w.y >> (8u * j) & 15u);
    }
}
