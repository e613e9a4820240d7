/* Numbers that the shading language does not promise well enough: exponentials, reciprocal square
 * roots, halves. All of it with precise arithmetic, so that no step is contracted or reordered. */
#ifndef NUMBER_GLSL
#define NUMBER_GLSL

/* exp(x + low) = m * 2^n with m in [0.7, 1.42), m within one unit in the last place; |low| is far
 * below |x|. The product of n and the leading part of ln 2 (10 bits) is exact. */
float exp_parts(float x, float low, out int n)
{
    precise float fn = floor(x * 1.44269504 + 0.5);
    precise float r = (x - fn * 0.693359375) - fn * -2.12194440e-4;
    r = r + low;
    precise float p = 1.98412698e-4;
    p = p * r + 1.38888889e-3;
    p = p * r + 8.33333333e-3;
    p = p * r + 4.16666667e-2;
    p = p * r + 1.66666667e-1;
    p = p * r + 0.5;
    precise float m = (p * r) * r + r;
    m = m + 1.0;
    n = int(fn);
    return m;
}

/* 2^n for -126 <= n <= 127. */
float power2(int n) { return uintBitsToFloat(uint(n + 127) << 23); }

/* exp(x) for x <= 88.7; 0 below -104 and for -infinity. */
float exp_float(float x)
{
    int n;
    const float m = exp_parts(max(x, -110.0), 0.0, n);
    precise float y = m * power2(n / 2) * power2(n - n / 2);
    return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u ? x : y;
}

/* tanh(u): for small |u| by its series, else by exp(-2|u|). */
float tanh_float(float u)
{
    const float a = abs(u);
    if ((floatBitsToUint(u) & 0x7fffffffu) > 0x7f800000u) return u;
    if (a < 0.35) {
        const float s = u * u;
        precise float p = 3.59212804e-3;
        p = p * s - 8.86323553e-3;
        p = p * s + 2.18694885e-2;
        p = p * s - 5.39682540e-2;
        p = p * s + 1.33333333e-1;
        p = p * s - 3.33333333e-1;
        precise float y = u + u * (s * p);
        return y;
    }
    const float e = exp_float(-2.0 * a);
    precise float y = (1.0 - e) / (1.0 + e);
    return u < 0.0 ? -y : y;
}

/* 1 / sqrt(a): inversesqrt is promised to 2 units in the last place; one step of Newton. */
float reciprocal_root(float a)
{
    const float y = inversesqrt(a);
    precise float e = 1.0 - (a * y) * y;
    precise float z = y + 0.5 * y * e;
    return z;
}

/* Bits of |x| as m * 2^(e - 150), m with 24 bits; x neither 0 nor infinite. */
uint mantissa(uint bits, out int e)
{
    e = int(bits >> 23);
    if (e != 0) return (bits & 0x7fffffu) | 0x800000u;
    const int s = 23 - findMSB(bits);
    e = 1 - s;
    return bits << s;
}

/* a / b to nearest even, digit by digit in integers: the language promises less of a division. */
float divide(float a, float b)
{
    const uint sign = (floatBitsToUint(a) ^ floatBitsToUint(b)) & 0x80000000u, inf = 0x7f800000u;
    const uint ua = floatBitsToUint(a) & 0x7fffffffu, ub = floatBitsToUint(b) & 0x7fffffffu;
    if (ua > inf || ub > inf || (ua == ub && (ua == 0u || ua == inf)))
        return uintBitsToFloat(0x7fc00000u);
    if (ua == inf || ub == 0u) return uintBitsToFloat(sign | inf);
    if (ua == 0u || ub == inf) return uintBitsToFloat(sign);
    int ea, eb;
    uint r = mantissa(ua, ea);
    const uint m = mantissa(ub, eb);
    int e = ea - eb + 127;
    if (r < m) {
        r <<= 1;
        e--;
    }
    uint q = 0u; /* a / b = q * 2^(e - 151) and a rest; q has 25 bits */
    for (uint i = 0u; i < 25u; i++) {
        q = q << 1 | (r >= m ? 1u : 0u);
        r = (r >= m ? r - m : r) << 1;
    }
    if (e > 254) return uintBitsToFloat(sign | inf);
    const uint drop = e > 0 ? 1u : uint(min(2 - e, 26)); /* subnormals lose more digits */
    const uint rem = q & ((1u << drop) - 1u), mid = 1u << (drop - 1u);
    uint bits = q >> drop;
    if (rem > mid || (rem == mid && (r != 0u || (bits & 1u) != 0u))) bits++;
    if (e > 0) bits += uint(e - 1) << 23; /* the leading digit adds one more */
    return uintBitsToFloat(sign | bits);
}

/* Round to nearest even; overflow to infinity; NaN stays NaN. */
uint bfloat_bits(uint f)
{
    if ((f & 0x7fffffffu) > 0x7f800000u) return f >> 16 | 0x40u;
    return f + 0x7fffu + (f >> 16 & 1u) >> 16;
}

/* The same to binary16. */
uint half_bits(uint f)
{
    const uint sign = f >> 16 & 0x8000u, a = f & 0x7fffffffu;
    if (a > 0x7f800000u) return sign | 0x7e00u;
    if (a >= 0x477ff000u) return sign | 0x7c00u; /* 65520 and more */
    if (a >= 0x38800000u) { /* normal halves; the carry may move the exponent */
        const uint r = a - 0x38000000u;
        return sign | (r + 0xfffu + (r >> 13 & 1u)) >> 13;
    }
    if (a < 0x33000000u) return sign; /* below half of 2^-24 */
    const uint s = 126u - (a >> 23), m = (a & 0x7fffffu) | 0x800000u; /* value m * 2^(-24 - s) */
    const uint q = m >> s, rem = m & ((1u << s) - 1u), mid = 1u << (s - 1u);
    return sign | q + (rem > mid || (rem == mid && (q & 1u) != 0u) ? 1u : 0u);
}

/* binary16 to binary32: normal numbers, infinities and NaN by the device (HALF, which promises them)
 * or by integer bits. A subnormal m * 2^-24 is made as a difference of two normal numbers, since a
 * device may flush subnormals. */
float half_float(uint h)
{
    const uint em = h & 0x7fffu, sign = (h & 0x8000u) << 16;
    precise float small = uintBitsToFloat(0x38800000u | em << 13) - uintBitsToFloat(0x38800000u);
#ifdef HALF
    const uint big = floatBitsToUint(float(unpackFloat2x16(h & 0xffffu).x));
#else
    const uint big = sign | (em << 13) + (em >= 0x7c00u ? 0x70000000u : 0x38000000u);
#endif
    return uintBitsToFloat(em < 0x400u ? sign | floatBitsToUint(small) : big);
}

#endif
