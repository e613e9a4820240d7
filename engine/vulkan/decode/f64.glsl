/* F64: binary64 rounded to binary32, to nearest even, by integers: devices need not have doubles.
 *   hi: sign 1 | exponent 11 | fraction 20     lo: fraction 32 */
uint element_bits(uint a, uint i)
{
    const uint lo = u32_aligned(a + 8u * i), hi = u32_aligned(a + 8u * i + 4u);
    const uint sign = hi & 0x80000000u, e = hi >> 20 & 0x7ffu;
    const uint m = (hi & 0xfffffu) << 3 | lo >> 29, rest = lo << 3;
    if (e == 0x7ffu)
        return sign | 0x7f800000u | (((hi & 0xfffffu) | lo) != 0u ? 0x400000u : 0u);
    if (e >= 1023u + 128u) return sign | 0x7f800000u;
    if (e > 1023u - 127u) { /* normal; the carry of rounding may reach infinity */
        const uint bits = (e - 896u) << 23 | m;
        const bool up = rest > 0x80000000u || (rest == 0x80000000u && (bits & 1u) != 0u);
        return sign | (bits + (up ? 1u : 0u));
    }
    if (e < 896u - 23u) return sign; /* below half of the smallest subnormal */
    const uint s = 897u - e, full = m | 0x800000u; /* 1 .. 24 */
    const uint q = full >> s, rem = full & ((1u << s) - 1u), mid = 1u << (s - 1u);
    const bool up = rem > mid || (rem == mid && (rest != 0u || (q & 1u) != 0u));
    return sign | (q + (up ? 1u : 0u));
}
