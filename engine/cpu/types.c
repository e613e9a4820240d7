/* One decoder of rows per tensor type, from the decoders of engine/decode. A type without its
 * header does not compile: the error names decode32_TYPE. */
#include "engine/cpu/cpu.h"
#include "engine/decode/all.h"

#include <string.h>

/* Plain types count their groups of 32 along the row, the others within a block. What is left of a
 * row of a plain type is decoded from a copy, so that nothing behind the row is read. */
#define DECODE_ROW(c, elems, bytes)                                                                \
    static void decode_##c(const uint8_t *restrict row, size_t n, float *restrict out)             \
    {                                                                                              \
        size_t groups = (elems) < 32 ? n / 32 : (elems) / 32;                                      \
        size_t blocks = (elems) < 32 ? 1 : n / (elems);                                            \
        for (size_t k = 0; k < blocks; k++) {                                                      \
            for (uint32_t g = 0; g < groups; g++, out += 32) {                                     \
                decode32_##c(row + k * (bytes), g, out);                                           \
            }                                                                                      \
        }                                                                                          \
        if ((elems) == 1 && n % 32 != 0) {                                                         \
            uint8_t rest[32 * (bytes)] = {0};                                                      \
            float values[32];                                                                      \
            memcpy(rest, row + groups * 32 * (bytes), n % 32 * (bytes));                           \
            decode32_##c(rest, 0, values);                                                         \
            memcpy(out, values, n % 32 * sizeof *out);                                             \
        }                                                                                          \
    }

#define TYPE(e, id, name, c, elems, bytes, use, act) IF_DECODED(use)(DECODE_ROW(c, elems, bytes))
#include "spec/types.def"
#undef TYPE

const struct cpu_type cpu_types[TYPE_ID_END] = {
#define TYPE(e, id, name, c, elems, bytes, use, act) IF_DECODED(use)([id] = {#c, decode_##c}, )
#include "spec/types.def"
#undef TYPE
};

#define TYPE(e, id, name, c, elems, bytes, use, act)                                               \
    IF_DECODED(use)(_Static_assert(CPU_PIECE % (elems) == 0, "a piece is whole blocks of " #c);)
#include "spec/types.def"
#undef TYPE

enum status cpu_type_of(const struct cpu_type **out, enum tensor_type t, const char *op,
                        struct err *e)
{
    *out = (unsigned)t < TYPE_ID_END ? &cpu_types[t] : NULL;
    if (*out && (*out)->decode) return ST_OK;
    return fail(e, ST_UNSUPPORTED, "cpu: %s: nothing computes with type id %u", op, (unsigned)t);
}

const float *cpu_row(enum tensor_type t, const uint8_t *row, size_t n, float *buf)
{
    if (t == TYPE_F32 && (uintptr_t)row % sizeof(float) == 0) {
        return (const float *)(const void *)row;
    }
    cpu_types[t].decode(row, n, buf);
    return buf;
}
