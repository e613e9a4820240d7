/* Q8_0: d f16 @0 | qs[32] i8 @2.
 *   y = q * d */
#define GROUP 32u

vec2 scales(uint a, uint g) { return vec2(f16(a), 0.0); }

void quants(uint a, uint g, out float q[8])
{
    const uint p = a + 2u + 8u * g;
    const ivec2 w = ivec2(u32(p), u32(p + 4u));
    [[unroll]] for (uint j = 0u; j < 4u; j++) {
        q[j] = float(bitfieldExtract(w.x, int(8u * j), 8));
        q[j + 4u] = float(bitfieldExtract(w.y, int(8u * j), 8));
    }
}
