/* Private to engine/cpu: the backend's state, its memory, and one function per operation. */
#ifndef CPU_H
#define CPU_H

#include "engine/backend.h"

/* Elements decoded at a time: a multiple of every type's block. */
enum { CPU_PIECE = 256 };

struct dbuf {
    uint8_t *data;
    size_t bytes;
    bool owned; /* false: the host's memory, of import */
};

struct cpu {
    struct backend_base base;
    struct pool *pool;
    float *scratch;        /* scratch_floats for each thread, one after the other */
    size_t scratch_floats; /* grows to the longest row seen, never per token */
    void *list;            /* list_bytes for what an operation notes down before it begins */
    size_t list_bytes;     /* grows likewise */
    bool panels_only;      /* variant "panels": matvec decodes whole rows, as matmul does */
    uint64_t dispatches;
    const char *last_op, *last_type, *last_way; /* variant of the last operation; NULL = absent */
};

/* What the types differ in. */
struct cpu_type {
    const char *name; /* "q4_k" */
    /* n elements from the block at row on (n a multiple of the block) to f32. NULL: no decoder. */
    void (*decode)(const uint8_t *row, size_t n, float *out);
};

extern const struct cpu_type cpu_types[TYPE_ID_END];

static inline struct cpu *cpu_of(struct backend *b)
{
    return (struct cpu *)(void *)b;
}

/* The bytes of a view, which the caller has made large enough. */
uint8_t *cpu_at(struct view v, size_t bytes);

static inline float *cpu_floats(struct view v, size_t n)
{
    return (float *)(void *)cpu_at(v, n * sizeof(float));
}

static inline int32_t *cpu_ints(struct view v, size_t n)
{
    return (int32_t *)(void *)cpu_at(v, n * sizeof(int32_t));
}

/* At least n floats for each thread; contents are lost when it grows. */
enum status cpu_scratch(struct cpu *c, size_t n, struct err *e);

/* At least that many bytes at c->list; contents are lost when it grows. */
enum status cpu_list(struct cpu *c, size_t bytes, struct err *e);

static inline float *cpu_scratch_of(const struct cpu *c, int thread)
{
    return c->scratch + c->scratch_floats * (size_t)thread;
}

/* Units of `values` values per share of a thread at least: less is not worth waking one. */
static inline size_t cpu_grain(size_t values)
{
    return 1 + 4096 / (values > 0 ? values : 1);
}

/* Notes that an operation ran. type and way may be NULL. */
void cpu_count(struct cpu *c, const char *op, const char *type, const char *way);

/* The type's row, or ST_UNSUPPORTED in the name of op. */
enum status cpu_type_of(const struct cpu_type **out, enum tensor_type t, const char *op,
                        struct err *e);

/* n values of a row as f32: the row itself where it is that already, else decoded into buf. */
const float *cpu_row(enum tensor_type t, const uint8_t *row, size_t n, float *buf);

/* out[i] = sum of w[k] * x[i][k] over k < n in the order of simd.h. */
void cpu_dots(const float *w, const float *const *x, size_t n_x, size_t n, float *out);

/* Softmax of one row; out may be x. sink: one more score that is not in out, or NULL. */
void cpu_softmax_row(const float *x, float *out, size_t n, const float *sink);

#define OP(name, args, types, tol)                                                                 \
    enum status cpu_##name(struct backend *b, const struct op_##args *a, struct err *e);
#include "spec/ops.def"
#undef OP

#endif
