/* The fact tables (tensor types, operations, trace sites, architectures), shared by both sides of
 * the judge's line. Facts only: nothing here computes. */
#ifndef SPEC_H
#define SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tensor_type {
#define TYPE(e, id, name, c, elems, bytes, use, act) TYPE_##e = id,
#include "types.def"
#undef TYPE
    TYPE_ID_END = 43 /* ids at or above are unknown */
};

/* Weight type, activation type, plain number, listed only: see types.def. */
enum type_use { USE_W, USE_A, USE_N, USE_L };

struct type_spec {
    enum tensor_type id;
    const char *name;     /* ggml's spelling: "q4_K" */
    const char *c_name;   /* "q4_k" */
    uint32_t block_elems; /* values of a block; 1 for plain types */
    uint32_t block_bytes; /* bytes of a block */
    enum type_use use;
    enum tensor_type act; /* to which llama.cpp's CPU backend rounds the other operand */
};

/* For expansions of types.def that want the types of some uses only:
 *   #define TYPE(e, id, name, c, elems, bytes, use, act) IF_DECODED(use)(... row ...)        */
#define SPEC_KEEP(...) __VA_ARGS__
#define SPEC_DROP(...)
#define IF_DECODED(use) IF_DECODED_##use
#define IF_DECODED_W    SPEC_KEEP
#define IF_DECODED_A    SPEC_KEEP
#define IF_DECODED_N    SPEC_KEEP
#define IF_DECODED_L    SPEC_DROP
#define IF_WEIGHT(use)  IF_WEIGHT_##use
#define IF_WEIGHT_W     SPEC_KEEP
#define IF_WEIGHT_A     SPEC_DROP
#define IF_WEIGHT_N     SPEC_DROP
#define IF_WEIGHT_L     SPEC_DROP

/* The row of an id; NULL if the id was removed from the format or is unknown. Any value may be
 * asked for. Rows are constant and live as long as the program. */
const struct type_spec *type_by_id(int64_t id);

/* Row of a name in any case ("Q4_K", "q4_k"); NULL if there is none. */
const struct type_spec *type_by_name(const char *name);

/* Walks all rows in order of id: type_next(NULL) is the first, NULL after the last. */
const struct type_spec *type_next(const struct type_spec *t);

/* True when the type has a decoder. */
bool type_decodes(const struct type_spec *t);

/* Bytes of n elements. The caller has checked that n is a multiple of block_elems and that
 * n * block_bytes does not wrap, as the container's reader does for all that comes from a file. */
size_t type_bytes(const struct type_spec *t, size_t n);

enum op {
#define OP(name, args, types, tol) OP_##name,
#include "ops.def"
#undef OP
    OP_COUNT
};

/* How many instances an operation has, and what its result may be off by: see ops.def. */
enum op_types { OP_PER_TYPE, OP_PER_KV, OP_ONCE };
enum tol_class { TOL_EXACT, TOL_DOT, TOL_REDUCE, TOL_ULP8 };

struct op_spec {
    enum op op;
    const char *name;
    enum op_types types;
    enum tol_class tol;
};

extern const struct op_spec op_table[OP_COUNT];

/* Row of a name; NULL if there is none. */
const struct op_spec *op_by_name(const char *name);

enum site {
#define SITE(e, name, llama, scope, width) SITE_##e,
#include "sites.def"
#undef SITE
    SITE_COUNT
};

/* Where a site is, and how many values it has for each token: see sites.def. */
enum site_scope { SITE_MODEL, SITE_LAYER };
enum site_width {
    WIDTH_EMBD,
    WIDTH_Q,
    WIDTH_KV,
    WIDTH_FF,
    WIDTH_VOCAB,
    WIDTH_SCORES,
    WIDTH_EXPERTS
};

struct site_spec {
    enum site site;
    const char *name;       /* Assay's */
    const char *llama_name; /* of the same values in llama.cpp's graph */
    enum site_scope scope;
    enum site_width width;
};

extern const struct site_spec site_table[SITE_COUNT];

enum architecture {
#define ARCH(e, c_name, name) ARCHITECTURE_##e,
#include "archs.def"
#undef ARCH
    ARCHITECTURE_COUNT
};

/* Values of general.architecture. */
extern const char *const architecture_names[ARCHITECTURE_COUNT];

#endif
