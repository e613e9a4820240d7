/* TQ1_0: qs[48] @0 | qh[4] @48 | d f16 @52; five base-3 digits per byte, four in those of qh. Digit
 * n of bytes 0-31 is elements 32n .., of bytes 32-47 160 + 16n .., of qh 240 + 4n ..
 *   t = (((b * 3^n) mod 256) * 3) >> 8; y = (t - 1) * d */
#define GROUP 256u

vec2 scales(uint a, uint g) { return vec2(f16(a + 52u), 0.0); }

uint power3(uint n) { return n < 4u ? 0x1b090301u >> (8u * n) & 255u : 81u; }

float trit(uint w, uint j, uint power)
{
    return float(((w >> (8u * j) & 255u) * power & 255u) * 3u >> 8) - 1.0;
}

void quants(uint a, uint g, out float q[8])
{
    uint p, n; /* where the bytes are, which digit of them */
    if (g < 20u) {
        p = 8u * (g & 3u);
        n = g >> 2;
    } else if (g < 30u) {
        p = 32u + 8u * (g & 1u);
        n = (g - 20u) >> 1;
    } else {
        p = 48u;
        n = 2u * (g - 30u);
    }
    const bool tail = g >= 30u;
    const uint lo = u32(a + p), hi = tail ? lo : u32(a + p + 4u);
    const uint power_lo = power3(n), power_hi = tail ? power3(n + 1u) : power_lo;
    [[unroll]] for (uint j = 0u; j < 4u; j++) {
        q[j] = trit(lo, j, power_lo);
        q[j + 4u] = trit(hi, j, power_hi);
    }
}
