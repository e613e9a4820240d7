"""Rows of a KV cache from exact fractions, rounded to binary32 after every operation: the rule of
reference/ref.h (ref_cache_encode). Blocks are lists of 32 values, results lists of bytes."""
import struct
from fractions import Fraction

BLOCK = 32
LEVELS = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]
F32_BITS, F16_BITS, BF16_BITS = (23, -126), (10, -14), (7, -126)  # of the mantissa; least exponent


def rounded(x, form):
    """The nearest number of the format, ties to even; without an upper end."""
    x, (bits, least) = Fraction(x), form
    if x == 0:
        return x
    top = abs(x).numerator.bit_length() - abs(x).denominator.bit_length()
    top -= abs(x) < Fraction(2) ** top
    unit = Fraction(2) ** (max(top, least) - bits)
    return round(x / unit) * unit


def f32(x):
    return rounded(x, F32_BITS)


def narrow_bits(x, form, exponent_bits, negative):
    """Bits of the nearest number of a format of 16 bits; negative: the sign of zero."""
    bits, least = form
    sign = (x < 0 or (x == 0 and negative)) << 15
    x = rounded(x, form)
    if x == 0:
        return sign
    top = max(abs(x).numerator.bit_length() - abs(x).denominator.bit_length(), least)
    top -= top > least and abs(x) < Fraction(2) ** top
    field = int(abs(x) / Fraction(2) ** (top - bits)) + ((top - least) << bits)
    infinite = ((1 << exponent_bits) - 1) << bits
    return sign | min(field, infinite)


def half_bytes(x, negative=False):
    h = narrow_bits(x, F16_BITS, 5, negative)
    return [h & 255, h >> 8]


def inverse(d):
    return Fraction(0) if d == 0 or f32(1 / d) >= 2**128 else f32(1 / d)


def extreme(x):
    """The value of largest magnitude, the first of equals, and whether it has a minus sign."""
    m = max(x, key=abs)
    return Fraction(m), struct.pack(">f", m)[0] >= 128


def nibbles(q):
    return [q[i] & 15 | (q[i + 16] & 15) << 4 for i in range(16)]


def encode_q8_0(x):
    d = f32(abs(extreme(x)[0]) / 127)
    y = [f32(Fraction(v) * inverse(d)) for v in x]
    q = [int(abs(v) + Fraction(1, 2)) * (-1 if v < 0 else 1) for v in y]
    return half_bytes(d) + [v & 255 for v in q]


def encode_q4_0(x):
    m, negative = extreme(x)
    d = f32(m / -8)
    y = [f32(f32(Fraction(v) * inverse(d)) + Fraction(17, 2)) for v in x]
    return half_bytes(d, not negative) + nibbles([min(15, int(v)) for v in y])


def encode_q5_1(x):
    low, high = Fraction(min(x)), Fraction(max(x))
    d = f32(f32(high - low) / 31)
    y = [f32(f32(f32(Fraction(v) - low) * inverse(d)) + Fraction(1, 2)) for v in x]
    q = [min(31, int(v)) for v in y]
    fifth = sum((v >> 4) << i for i, v in enumerate(q))
    return half_bytes(d) + half_bytes(low) + list(fifth.to_bytes(4, "little")) + nibbles(q)


def encode_iq4_nl(x):
    m, negative = extreme(x)
    d = f32(m / -127)
    y = [f32(Fraction(v) * inverse(d)) for v in x]
    q = [min(range(16), key=lambda i, v=v: (abs(f32(v - LEVELS[i])), i)) for v in y]
    return half_bytes(d, not negative) + nibbles(q)


def encode_f16(x):
    return [b for v in x for b in half_bytes(Fraction(v), struct.pack(">f", v)[0] >= 128)]


def encode_bf16(x):
    h = [narrow_bits(Fraction(v), BF16_BITS, 8, struct.pack(">f", v)[0] >= 128) for v in x]
    return [b for v in h for b in (v & 255, v >> 8)]
