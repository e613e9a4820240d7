/* Cache row cells[t] = source row t, as binary32 or rounded to binary16 (F16). One invocation per
 * word of the destination row. Rows of halves of odd length begin or end inside a word, the other
 * half of which belongs to another cell. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#include "number.glsl"

layout(constant_id = 1) const bool F16 = false;
layout(set = 0, binding = 0) readonly buffer Src { uint src[]; };
layout(set = 0, binding = 1) readonly buffer Cells { uint cells[]; };
layout(set = 0, binding = 2) buffer Cache { uint cache[]; };

void write_halves(uint from, uint cell, uint word)
{
    const uint begin = cell * n_in, at = begin / 2u + word; /* the word that holds halves 2 at .. */
    const bool lower = 2u * at >= begin, upper = 2u * at + 1u < begin + n_in;
    const uint lo = lower ? half_bits(src[from + 2u * at - begin]) : 0u;
    const uint hi = upper ? half_bits(src[from + 2u * at + 1u - begin]) << 16 : 0u;
    if (lower && upper) {
        cache[base[2] + at] = lo | hi;
    } else if (lower || upper) {
        atomicAnd(cache[base[2] + at], lower ? 0xffff0000u : 0x0000ffffu);
        atomicOr(cache[base[2] + at], lo | hi);
    }
}

void main()
{
    const uint words = F16 ? n_in / 2u + 1u : n_in, i = global_index();
    if (i >= words * n_tokens) return;
    const uint token = i / words, word = i % words, from = base[0] + token * n_in;
    const uint cell = cells[base[1] + token];
    if (!F16) cache[base[2] + cell * n_in + word] = src[from + word];
    else if (2u * (cell * n_in / 2u + word) < (cell + 1u) * n_in) write_halves(from, cell, word);
}
