/* What matrix products share: a row's weights and the activations, 8 or 32 at a time. Elements past
 * the end of a row (plain types only, whose rows have any length) are zeros. */
#ifndef PRODUCT_GLSL
#define PRODUCT_GLSL

layout(constant_id = 1) const uint COLS = 1;        /* columns per workgroup */
layout(constant_id = 2) const bool ALIGNED = false; /* what is read by 16 bytes begins at such */
layout(set = 0, binding = 1) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) readonly buffer X4 { vec4 x4[]; };
layout(set = 0, binding = 2) readonly buffer Bias { float bias[]; };
layout(set = 0, binding = 3) buffer Out { float result[]; };

#define ROW_BYTES (n_in / BLOCK_ELEMS * BLOCK_BYTES)

/* Activations i .. i+3 of a column. */
vec4 load_x(uint col, uint i)
{
    const uint at = base[1] + col * n_in + i;
#ifdef PLAIN
    if (i + 4u > n_in)
        return vec4(i < n_in ? x[at] : 0.0, i + 1u < n_in ? x[at + 1u] : 0.0,
                    i + 2u < n_in ? x[at + 2u] : 0.0, 0.0);
#endif
    if (ALIGNED) return x4[at / 4u];
    return vec4(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
}

#ifdef IN_REGISTERS
/* Elements 8g .. 8g+7 of the loaded unit. For g in rising order: scales are taken when a new group
 * begins, and kept in sm. */
void unit_values8(uint g, inout vec2 sm, out float w[8])
{
#ifdef PLAIN
    [[unroll]] for (uint j = 0u; j < 8u; j++)
        w[j] = uintBitsToFloat(element_bits(0u, 8u * g + j));
#else
    const uint per = BLOCK_ELEMS / 8u, a = g / per * BLOCK_BYTES;
    if (g % (GROUP / 8u) == 0u) sm = scales(a, g % per);
    quants(a, g % per, w);
    [[unroll]] for (uint j = 0u; j < 8u; j++) {
        w[j] = sm.x * w[j];
#ifdef HAS_MIN
        w[j] -= sm.y;
#endif
    }
#endif
}
#else
/* Elements 8g .. 8g+7 of the row at byte a. */
void row_values8(uint a, uint g, out float w[8])
{
#ifdef PLAIN
    [[unroll]] for (uint j = 0u; j < 8u; j++)
        w[j] = 8u * g + j < n_in ? uintBitsToFloat(element_bits(a, 8u * g + j)) : 0.0;
#else
    const uint per = BLOCK_ELEMS / 8u;
    decode_values(a + g / per * BLOCK_BYTES, g % per, w);
#endif
}
#endif

void store(uint row, uint col, float y)
{
    const float b = (flags & FLAG_BIAS) != 0u ? bias[base[2] + row0 + row] : 0.0;
    result[base[3] + col * n_out + row0 + row] = y + b;
}

#endif
