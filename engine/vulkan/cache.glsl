/* Reading queries, keys and values, and who sees what. Bindings as in ops_attention.c. Keys and values
 * are those of the bound window of n_rows cells, cell k0 and the following. */
#ifndef CACHE_GLSL
#define CACHE_GLSL

#include "cache_types.glsl"
#include "fields.glsl"

layout(constant_id = 1) const uint K_TYPE = TYPE_F32;
layout(constant_id = 2) const uint V_TYPE = TYPE_F32;
layout(set = 0, binding = 0) readonly buffer Q { float q[]; }; /* or probs */
layout(set = 0, binding = 1) readonly buffer K { uint k[]; };
layout(set = 0, binding = 2) readonly buffer V { uint v[]; };
layout(set = 0, binding = 3) readonly buffer Pos { int pos[]; };
layout(set = 0, binding = 4) readonly buffer CellPos { int cell_pos[]; };
layout(set = 0, binding = 6) readonly buffer First { int first_pos[]; };

/* What the decoders read: the keys, or the values. Known where they are inlined. */
bool of_values;
uint cache_word(uint i) { return of_values ? v[i] : k[i]; }

uint u32_aligned(uint a) { return cache_word(a >> 2); }
uint u16(uint a) { return cache_word(a >> 2) >> (8u * (a & 2u)) & 65535u; }
/* A word at an even address. */
uint u32(uint a)
{
    const uint s = 8u * (a & 2u);
    return cache_word(a >> 2) >> s | (cache_word((a >> 2) + 1u) << 1) << (31u - s);
}
float f16(uint a) { return half_float(u16(a)); }

#define scales scales_q8_0
#define quants quants_q8_0
#include "decode/q8_0.glsl"
#undef scales
#undef quants
#undef GROUP
#define scales scales_q4_0
#define quants quants_q4_0
#include "decode/q4_0.glsl"
#undef scales
#undef quants
#undef GROUP
#define scales scales_iq4_nl
#define quants quants_iq4_nl
#include "decode/iq4_nl.glsl"
#undef scales
#undef quants
#undef GROUP
#define scales scales_q5_1
#define quants quants_q5_1
#include "decode/q5_1.glsl"
#undef scales
#undef quants
#undef GROUP
#undef HAS_MIN

/* Values i .. i+7 of the head at byte a, i a multiple of 8. */
void cache_values8(uint type, uint a, uint i, out float w[8])
{
    if (type == TYPE_F32) {
        [[unroll]] for (uint j = 0u; j < 8u; j++) w[j] = uintBitsToFloat(u32_aligned(a + 4u * (i + j)));
    } else if (type == TYPE_F16 || type == TYPE_BF16) {
        [[unroll]] for (uint j = 0u; j < 8u; j += 2u) {
            const uint two = u32_aligned(a + 2u * (i + j));
            const bool brain = type == TYPE_BF16;
            w[j] = brain ? uintBitsToFloat(two << 16) : half_float(two & 65535u);
            w[j + 1u] = brain ? uintBitsToFloat(two & 0xffff0000u) : half_float(two >> 16);
        }
    } else {
        const uint at = a + i / BLOCK * block_bytes(type), g = i % BLOCK / 8u;
        vec2 s;
        if (type == TYPE_Q8_0) {
            s = scales_q8_0(at, g);
            quants_q8_0(at, g, w);
        } else if (type == TYPE_Q4_0) {
            s = scales_q4_0(at, g);
            quants_q4_0(at, g, w);
        } else if (type == TYPE_IQ4_NL) {
            s = scales_iq4_nl(at, g);
            quants_iq4_nl(at, g, w);
        } else {
            s = scales_q5_1(at, g);
            quants_q5_1(at, g, w);
        }
        [[unroll]] for (uint j = 0u; j < 8u; j++) w[j] = s.x * w[j] - s.y;
    }
}

/* Where a head of a cell of the window begins. */
uint key_at(uint cell, uint kv)
{
    return base[1] + (cell * n_kv_heads + kv) * cache_bytes(K_TYPE, head_dim);
}

uint value_at(uint cell, uint kv)
{
    return base[2] + (cell * n_kv_heads + kv) * cache_bytes(V_TYPE, value_dim);
}

void key8(uint a, uint i, out float w[8])
{
    of_values = false;
    cache_values8(K_TYPE, a, i, w);
}

void value8(uint a, uint i, out float w[8])
{
    of_values = true;
    cache_values8(V_TYPE, a, i, w);
}

/* first >= 0, so that empty cells are not seen. */
bool sees(uint token, uint cell)
{
    const int p = cell_pos[base[4] + cell];
    return p >= first_pos[base[6] + token] && p <= pos[base[3] + token];
}

/* The score of a sum of products. */
float score_of(float s)
{
    s *= scale;
    return softcap == 0.0 ? s : softcap * tanh_float(s / softcap);
}

#endif
