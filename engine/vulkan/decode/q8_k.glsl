/* Q8_K: d f32 @0 | qs[256] i8 @4 | bsums[16] i16 @260.
 *   y = d * q, rounded once. d is any binary32, so the product of a subnormal d, or one that ends
 *   subnormal, is formed by integers. */
#define GROUP 256u
#define OWN_BITS

vec2 scales(uint a, uint g) { return vec2(uintBitsToFloat(u32_aligned(a)), 0.0); }

void quants(uint a, uint g, out float q[8])
{
    const uint p = a + 4u + 8u * g;
    const ivec2 w = ivec2(u32_aligned(p), u32_aligned(p + 4u));
    [[unroll]] for (uint j = 0u; j < 4u; j++) {
        q[j] = float(bitfieldExtract(w.x, int(8u * j), 8));
        q[j + 4u] = float(bitfieldExtract(w.y, int(8u * j), 8));
    }
}

/* d * q for |q| <= 128: the product of the significands has at most 32 bits. */
uint product_bits(uint d, float q)
{
    const uint sign = (d ^ floatBitsToUint(q)) & 0x80000000u;
    const uint n = uint(abs(q)), e = d >> 23 & 255u, m = d & 0x7fffffu;
    if (e == 255u) return m != 0u || n == 0u ? 0x7fc00000u : sign | 0x7f800000u;
    const uint p = (e == 0u ? m : m | 0x800000u) * n; /* value p * 2^(max(e,1) - 150) */
    if (p == 0u) return sign;
    const int top = findMSB(p), unit = int(max(e, 1u)); /* unit: exponent field of bit 23 */
    const int field = unit + top - 23;
    /* Places to drop: down to 24 bits, or to the smallest subnormal. */
    const int drop = max(field > 0 ? top - 23 : 1 - unit, 0);
    const uint kept = p >> drop, rem = drop == 0 ? 0u : p & ((1u << drop) - 1u);
    const uint mid = drop == 0 ? 1u : 1u << (drop - 1);
    const uint up = rem > mid || (rem == mid && (kept & 1u) != 0u) ? 1u : 0u;
    if (field <= 0) return sign | (kept + up);
    if (top < 23) return sign | (uint(field) << 23) + ((p << (23 - top)) & 0x7fffffu);
    const uint bits = (uint(field) << 23) + (kept & 0x7fffffu) + up;
    return sign | min(bits, 0x7f800000u);
}

void decode_bits(uint a, uint g, out uint bits[8])
{
    float q[8];
    quants(a, g, q);
    const uint d = u32_aligned(a);
    [[unroll]] for (uint j = 0u; j < 8u; j++) bits[j] = product_bits(d, q[j]);
}
