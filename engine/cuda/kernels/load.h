/* Weights of any type as f32, through the decoders of engine/decode:
 *
 *   load8_x(row, i, n, v)   elements i .. i+7 of a row of n, i a multiple of 8 below n
 *
 * Only a plain type can end within a group: elements at n and above are then 0. */
#ifndef CUDA_LOAD_H
#define CUDA_LOAD_H

#include "kernel.h"
#include "decode/all.h"
#include "spec/spec.h"

/* PLAIN or BLOCK, from the number of elements per block in the row. */
#define TYPE_KIND(elems)              TYPE_KIND_2(KIND_OF_##elems, BLOCK, 0)
#define TYPE_KIND_2(...)              TYPE_KIND_3(__VA_ARGS__)
#define TYPE_KIND_3(first, kind, ...) kind
#define KIND_OF_1                     0, PLAIN
#define LOADERS(kind)                 LOADERS_2(kind)
#define LOADERS_2(kind)               LOADERS_##kind

#define LOADERS_BLOCK(c, elems, bytes)                                                             \
    DEVICE_FN void load8_##c(const uint8_t *row, uint32_t i, uint32_t n, float *v)                 \
    {                                                                                              \
        (void)n;                                                                                   \
        decode8_##c(row + (size_t)(i / elems) * bytes, i % elems / 8, v);                          \
    }

#define LOADERS_PLAIN(c, elems, bytes)                                                             \
    DEVICE_FN void load8_##c(const uint8_t *row, uint32_t i, uint32_t n, float *v)                 \
    {                                                                                              \
        if (i + 8 <= n)                                                                            \
            decode8_##c(row, i / 8, v);                                                            \
        else                                                                                       \
            for (uint32_t j = 0; j < 8; j++) v[j] = i + j < n ? decode1_##c(row, i + j) : 0.0f;    \
    }

/* The same for a vector of f32. */
DEVICE_FN void load8_values(const float *x, uint32_t i, uint32_t n, float *v)
{
    for (uint32_t j = 0; j < 8; j++) v[j] = i + j < n ? x[i + j] : 0.0f;
}

#define TYPE(e, id, name, c, elems, bytes, use, act)                                               \
    IF_DECODED(use)(LOADERS(TYPE_KIND(elems))(c, elems, bytes))
#include "spec/types.def"
#undef TYPE

#endif
