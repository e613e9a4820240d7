/* Fields of bits as small numbers: what the decoders of several types share. */
#ifndef FIELDS_GLSL
#define FIELDS_GLSL

/* Fields of 4 or 2 bits of eight consecutive bytes, as small numbers. */
void nibbles8(uvec2 w, uint shift, float bias, out float q[8])
{
    const uvec2 v = w >> shift & 0x0f0f0f0fu;
    [[unroll]] for (uint j = 0u; j < 4u; j++) {
        q[j] = float(bitfieldExtract(v.x, int(8u * j), 8)) + bias;
        q[j + 4u] = float(bitfieldExtract(v.y, int(8u * j), 8)) + bias;
    }
}

void pairs8(uvec2 w, uint shift, float bias, out float q[8])
{
    const uvec2 v = w >> shift & 0x03030303u;
    [[unroll]] for (uint j = 0u; j < 4u; j++) {
        q[j] = float(bitfieldExtract(v.x, int(8u * j), 8)) + bias;
        q[j + 4u] = float(bitfieldExtract(v.y, int(8u * j), 8)) + bias;
    }
}

/* Eight elements of a grid entry with 2 bits per letter, alphabet 8, 25, 43. */
void grid2_8(uint code, uint signs, out float q[8])
{
    [[unroll]] for (uint j = 0u; j < 8u; j++) {
        const uint l = code >> (2u * j) & 3u;
        const float v = float(8u + 17u * l + (l >> 1));
        q[j] = (signs >> j & 1u) != 0u ? -v : v;
    }
}

/* Seven sign bits and their parity as the eighth. */
uint signs_of(uint k) { return k | (uint(bitCount(k)) & 1u) << 7; }

/* The doubled E2M1 magnitudes 0 1 2 3 4 6 8 12; code 8 is +0. */
float fp4(uint c)
{
    const float v = float(0xc8643210u >> (4u * (c & 7u)) & 15u);
    return c > 8u ? -v : v;
}

/* The non-linear 4-bit values -127 -104 -83 -65 -49 -35 -22 -10 1 13 25 38 53 69 89 113. */
float nl4(uint c)
{
    const uint w = c < 8u ? (c < 4u ? 0xbfad9881u : 0xf6eaddcfu)
                          : (c < 12u ? 0x26190d01u : 0x71594535u);
    return float(bitfieldExtract(int(w), int(8u * (c & 3u)), 8));
}

#endif
