/* How decoders read a tensor's bytes, and what each decode/TYPE.glsl defines.
 *
 * The build defines BLOCK_ELEMS and BLOCK_BYTES from the row of the type
 * (reference/spec/types.def), and makes type.glsl include its decoder. A block type's then defines
 *
 *   GROUP           elements that share one scale, a multiple of 8
 *   HAS_MIN         only if the type has an offset
 *   vec2 scales(uint a, uint g)                      scale and offset of elements 8g .. 8g+7
 *   void quants(uint a, uint g, out float q[8])      their small numbers, exact
 *
 * of the block at byte a, so that element 8g+j is scale * q[j] - offset. Every such product is
 * exact in binary32 (the scales are halves or powers of two, the numbers small), hence the last
 * subtraction alone rounds and the bits are those of the definition in whatever order a kernel
 * multiplies. Types for which this does not hold define OWN_BITS and
 *
 *   void decode_bits(uint a, uint g, out uint bits[8])
 *
 * by integers. A plain type (one element per block) defines only
 *
 *   uint element_bits(uint a, uint i)                element i of the row at byte a
 *
 * Blocks are aligned to the largest power of two up to 4 that divides BLOCK_BYTES, no more.
 * With NARROW, bytes and halves are read as such (8- and 16-bit storage); else as parts of words.
 */
#ifndef WORDS_GLSL
#define WORDS_GLSL

#include "number.glsl"

layout(set = 0, binding = 0) readonly buffer WeightWords { uint weight_words[]; };
#ifdef NARROW
layout(set = 0, binding = 0) readonly buffer WeightHalves { uint16_t weight_halves[]; };
layout(set = 0, binding = 0) readonly buffer WeightBytes { uint8_t weight_bytes[]; };
#endif
/* The grids of the IQ types, one packed code per word, in the order of codebook.def. */
#ifdef IN_REGISTERS
/* The whole buffer that holds the weights, and the tables. llvmpipe fetches texels of eight lanes by
 * eight loads and a transposition; of a storage buffer it reads word by word, with a branch for
 * each. */
layout(set = 0, binding = 9) uniform usamplerBuffer texels[2];

uint table_code(uint i)
{
    const uvec4 t = texelFetch(texels[1], int(i >> 2));
    const uvec2 h = (i & 2u) != 0u ? t.zw : t.xy;
    return (i & 1u) != 0u ? h.y : h.x;
}
#else
layout(set = 0, binding = 5) readonly buffer Tables { uint table_codes[]; };
uint table_code(uint i) { return table_codes[i]; }
#endif

#define GRID_IQ2XXS 0u
#define GRID_IQ2XS 256u
#define GRID_IQ2S 768u
#define GRID_IQ3XXS 1792u
#define GRID_IQ3S 2048u
#define GRID_IQ1S 2560u

/* Ways to read: as words of the block in registers, at constant places (IN_REGISTERS); through
 * 8- and 16-bit storage (NARROW); as words of memory. */
#ifdef IN_REGISTERS
#define UNIT_ELEMS 256u
#define UNIT_BYTES (UNIT_ELEMS / BLOCK_ELEMS * BLOCK_BYTES)
#define UNIT_QUADS ((UNIT_BYTES + 30u) / 16u) /* wherever it begins */

uint unit_words[4u * UNIT_QUADS + 3u];

/* Loads 256 elements from byte a on, by 16 bytes, nothing past quad `last`. aligned: every unit
 * begins at a multiple of 16. */
void load_unit(uint a, uint last, bool aligned)
{
    const bool exact = aligned && UNIT_BYTES % 16u == 0u;
    [[unroll]] for (uint i = 0u; i < UNIT_QUADS; i++) {
        if (exact && i == UNIT_QUADS - 1u) break;
        const uvec4 q = texelFetch(texels[0], int(min((a >> 4) + i, last)));
        [[unroll]] for (uint j = 0u; j < 4u; j++) unit_words[4u * i + j] = q[j];
    }
    if (exact) return;
    /* Moves the words down by 0 to 15 bytes: by words, by pairs, by bits. */
    const uint n = (UNIT_BYTES + 3u) / 4u, s = 8u * (a & 3u);
    const bool one = (a & 4u) != 0u, two = (a & 8u) != 0u;
    [[unroll]] for (uint i = 0u; i < n + 3u; i++)
        if (one) unit_words[i] = unit_words[i + 1u];
    [[unroll]] for (uint i = 0u; i < n + 1u; i++)
        if (two) unit_words[i] = unit_words[i + 2u];
    [[unroll]] for (uint i = 0u; i < n; i++)
        unit_words[i] = unit_words[i] >> s | (unit_words[i + 1u] << 1) << (31u - s);
}
#define WORD(i) unit_words[i]
#else
#define WORD(i) weight_words[i]
#endif

/* A word at a multiple of 4. */
uint u32_aligned(uint a) { return WORD(a >> 2); }

#ifdef NARROW
uint u8(uint a) { return uint(weight_bytes[a]); }
#if BLOCK_BYTES % 2 == 0
uint u16(uint a) { return uint(weight_halves[a >> 1]); }
#else
uint u16(uint a) { return u8(a) | u8(a + 1u) << 8; }
#endif
uint u32(uint a) { return u16(a) | u16(a + 2u) << 16; }
#else
uint u8(uint a) { return WORD(a >> 2) >> (8u * (a & 3u)) & 255u; }
/* A half at an even address. */
uint u16(uint a) { return WORD(a >> 2) >> (8u * (a & 2u)) & 65535u; }
/* A word anywhere: the two shifts of the upper part keep each below 32. */
uint u32(uint a)
{
    const uint s = 8u * (a & 3u);
    return WORD(a >> 2) >> s | (WORD((a >> 2) + 1u) << 1) << (31u - s);
}
#endif

int i8(uint a) { return bitfieldExtract(int(u8(a)), 0, 8); }
uint nibble(uint byte_, uint t) { return byte_ >> (4u * t) & 15u; }

float f16(uint a) { return half_float(u16(a)); }

#include "fields.glsl"
#include "type.glsl"

#if BLOCK_ELEMS == 1
#define PLAIN
#else
/* Elements 8g .. 8g+7 of the block at a, bit for bit. */
void decode_values(uint a, uint g, out float v[8])
{
    const vec2 s = scales(a, g);
    quants(a, g, v);
    [[unroll]] for (uint j = 0u; j < 8u; j++) {
        precise float y = s.x * v[j];
#ifdef HAS_MIN
        y = y - s.y;
#endif
        v[j] = y;
    }
}
#ifndef OWN_BITS
void decode_bits(uint a, uint g, out uint bits[8])
{
    float v[8];
    decode_values(a, g, v);
    [[unroll]] for (uint j = 0u; j < 8u; j++) bits[j] = floatBitsToUint(v[j]);
}
#endif
#endif

#endif
