/* Cache row cells[t] = source row t, rounded to the cache's type as reference/ref.h says. Cells outside
 * the bound window of n_rows cells, row0 and the following, are left to the dispatch of their own
 * window. One invocation per word of a row, or per block.
 *
 * Rows of halves of odd length begin or end inside a word, as most blocks do: the other half belongs to
 * another invocation. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#include "number.glsl"
#include "fields.glsl"
#include "cache_types.glsl"

layout(constant_id = 1) const uint TYPE = TYPE_F32;
layout(set = 0, binding = 0) readonly buffer Src { uint src[]; };
layout(set = 0, binding = 1) readonly buffer Cells { uint cells[]; };
layout(set = 0, binding = 2) buffer Cache { uint cache[]; };

#define HALVES 17u /* of the largest block */
uint halves[HALVES];

void put_half(uint at, uint h)
{
    const uint shift = 16u * (at & 1u);
    atomicAnd(cache[at >> 1], 0xffff0000u >> shift);
    atomicOr(cache[at >> 1], h << shift);
}

/* n halves from half `at` of what is bound on. */
void put_halves(uint at, uint n)
{
    uint i = at & 1u;
    if (i != 0u) put_half(at, halves[0]);
    for (; i + 1u < n; i += 2u) cache[(at + i) >> 1] = halves[i] | halves[i + 1u] << 16;
    if (i < n) put_half(at + i, halves[i]);
}

uint rounded(uint bits) { return TYPE == TYPE_BF16 ? bfloat_bits(bits) : half_bits(bits); }

/* The word-th of the words that hold the cell's halves. */
void write_halves(uint from, uint cell, uint word)
{
    const uint begin = base[2] / 2u + cell * n_in, end = begin + n_in;
    const uint at = begin / 2u + word; /* holds halves 2 at .. */
    if (2u * at >= end) return;
    const bool lower = 2u * at >= begin, upper = 2u * at + 1u < end;
    const uint lo = lower ? rounded(src[from + 2u * at - begin]) : 0u;
    const uint hi = upper ? rounded(src[from + 2u * at + 1u - begin]) : 0u;
    if (lower && upper) cache[at] = lo | hi << 16;
    else put_half(2u * at + (lower ? 0u : 1u), lower ? lo : hi);
}

/* ---- blocks ------------------------------------------------------------------------------------ */

/* A device may flush subnormals. Blocks of values below 1 are therefore read LIFT times as large, by
 * their bits: then none is subnormal, and what is made of them is rounded as it would have been. */
#define LIFT 16777216.0 /* 2^24 */
float lift;             /* of this block: LIFT or 1 */

void choose_lift(uint from)
{
    bool small = true;
    for (uint i = 0u; i < BLOCK; i++) small = small && (src[from + i] & 0x7fffffffu) < 0x3f800000u;
    lift = small ? LIFT : 1.0;
}

float source(uint i)
{
    const uint bits = src[i], m = bits & 0x7fffffu;
    if (lift == 1.0) return uintBitsToFloat(bits);
    if ((bits & 0x7f800000u) != 0u) return uintBitsToFloat(bits + (24u << 23));
    return uintBitsToFloat((bits & 0x80000000u) | floatBitsToUint(float(m) * power2(-125)));
}

/* n steps in a (lifted): the size of one, and its reciprocal for lifted values, 0 where there is
 * none. */
float step_of(float a, float n, out float id)
{
    const float d = divide(a, n * lift);
    id = divide(1.0, d);
    id = (floatBitsToUint(id) & 0x7f800000u) == 0x7f800000u ? 0.0 : id;
    if (lift != 1.0) id *= 1.0 / LIFT;
    return d;
}

/* The value of largest magnitude, the first of equals. */
float largest(uint from)
{
    float m = source(from);
    for (uint i = 1u; i < BLOCK; i++) {
        const float x = source(from + i);
        if (abs(x) > abs(m)) m = x;
    }
    return m;
}

/* To the nearest integer, halves away from 0. */
int nearest(float x)
{
    precise float whole = trunc(x), rest = x - whole;
    return int(whole) + (abs(rest) < 0.5 ? 0 : x < 0.0 ? -1 : 1);
}

/* Code of a value for 4 bits. */
uint code4(float x)
{
    if (TYPE == TYPE_Q4_0) {
        precise float y = x + 8.5;
        return uint(min(15, int(y)));
    }
    uint code = 0u;
    float least = INFINITY;
    for (uint c = 0u; c < 16u; c++) {
        precise float off = abs(x - nl4(c));
        if (off < least) {
            least = off;
            code = c;
        }
    }
    return code;
}

void encode_q8_0(uint from)
{
    float id;
    const float d = step_of(abs(largest(from)), 127.0, id);
    halves[0] = half_bits(floatBitsToUint(d));
    for (uint i = 0u; i < BLOCK; i += 2u) {
        precise float a = source(from + i) * id, b = source(from + i + 1u) * id;
        halves[1u + i / 2u] = (uint(nearest(a)) & 255u) | (uint(nearest(b)) & 255u) << 8;
    }
}

/* Byte j holds elements j and j + 16. */
void encode_4_bits(uint from)
{
    float id;
    const float d = step_of(largest(from), TYPE == TYPE_Q4_0 ? -8.0 : -127.0, id);
    halves[0] = half_bits(floatBitsToUint(d));
    for (uint j = 0u; j < BLOCK / 4u; j++) {
        uint h = 0u;
        for (uint n = 0u; n < 4u; n++) {
            precise float x = source(from + 2u * j + (n >> 1) + BLOCK / 2u * (n & 1u)) * id;
            h |= code4(x) << (4u * n);
        }
        halves[1u + j] = h;
    }
}

/* d | lo | fifth bits of all | bytes as above */
void encode_q5_1(uint from)
{
    float lo = source(from), hi = lo, id;
    uint lo_bits = src[from];
    for (uint i = 1u; i < BLOCK; i++) {
        const float x = source(from + i);
        if (x < lo) {
            lo = x;
            lo_bits = src[from + i];
        }
        if (x > hi) hi = x;
    }
    precise float range = hi - lo;
    const float d = step_of(range, 31.0, id);
    halves[0] = half_bits(floatBitsToUint(d));
    halves[1] = half_bits(lo_bits);
    for (uint i = 2u; i < 12u; i++) halves[i] = 0u;
    for (uint i = 0u; i < BLOCK; i++) {
        precise float y = (source(from + i) - lo) * id;
        y = y + 0.5;
        const uint q = uint(min(31, int(y))), j = i % (BLOCK / 2u);
        halves[4u + j / 2u] |= (q & 15u) << (8u * (j & 1u) + 4u * (i / (BLOCK / 2u)));
        halves[2u + i / 16u] |= (q >> 4) << (i % 16u);
    }
}

void write_block(uint from, uint cell, uint block)
{
    const uint bytes = block_bytes(TYPE);
    from += block * BLOCK;
    choose_lift(from);
    if (TYPE == TYPE_Q8_0) encode_q8_0(from);
    else if (TYPE == TYPE_Q5_1) encode_q5_1(from);
    else encode_4_bits(from);
    put_halves((base[2] + cache_bytes(TYPE, n_in) * cell + block * bytes) / 2u, bytes / 2u);
}

void main()
{
    const bool words = TYPE == TYPE_F32, twos = TYPE == TYPE_F16 || TYPE == TYPE_BF16;
    const uint parts = words ? n_in : twos ? n_in / 2u + 1u : n_in / BLOCK;
    const uint token = global_index() / parts, part = global_index() % parts;
    if (token >= n_tokens) return;
    const uint from = base[0] + token * n_in;
    const uint cell = cells[base[1] + token] - row0; /* wraps below row0: not in the window either */
    if (cell >= n_rows) return;
    if (words) cache[base[2] / 4u + cell * n_in + part] = src[from + part];
    else if (twos) write_halves(from, cell, part);
    else write_block(from, cell, part);
}
