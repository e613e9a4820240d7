/* A backend: memory on a device, and the table of operations. Each operation (a row of
 * reference/spec/ops.def) takes one struct of arguments (a block of reference/spec/args.def).
 * Values are f32 unless stated otherwise, in row-major order, the last dimension contiguous. An
 * operation whose slot is NULL is not supported.
 *
 * Operations are queued in order; each sees the results of those before it. They may return
 * before they have run: the backend's download and flush wait. Arguments are checked by the caller
 * (engine/arch, suites), sizes in range of uint32_t.
 *
 * In place, that is with out being the same view as an input, these may be called: rms_norm,
 * layer_norm, softmax, scale, softcap and scale_rows (out = x), the functions of one value (out =
 * x) and of two (out = a or b). rope has no out, it changes x. In no other case does an output
 * overlap another argument.
 */
#ifndef BACKEND_H
#define BACKEND_H

#include "engine/base/base.h"
#include "spec/spec.h"

struct backend; /* an opened device; each backend has a struct of its own that begins with
                   struct backend_base */
/* A device buffer: memory of that device, made by alloc or import and freed by release. Each
 * backend has a struct of its own. */
struct dbuf;

/* Bytes of a device buffer from off on; the argument that takes the view says how many. A view owns
 * nothing. buf NULL: the argument is absent. */
struct view {
    struct dbuf *buf;
    size_t off; /* multiple of 4 */
};

/* A matrix: n_out rows of n_in weights of a type, rows one after the other. */
struct weight {
    struct view at;
    enum tensor_type type;
    uint32_t n_in, n_out;
};

enum rope_pairing { ROPE_NORM, ROPE_NEOX }; /* pairs (2p, 2p+1) or (p, p + n_dims/2) */
enum route_gating { ROUTE_SOFTMAX = 1, ROUTE_SIGMOID = 2, ROUTE_SOFTMAX_CHOSEN = 3 };

/* The arguments of operations: struct op_get_rows, op_norm, op_matmul ... from the blocks of
 * reference/spec/args.def, which say what each operation computes, and from what shapes. An
 * argument that is absent has no buffer. */
/* clang-format off */
#define ARGS(name, plug_in)            struct op_##name {
#define WEIGHT(args, name)             struct weight name;
#define INPUT(args, name, as, values)  struct view name;
#define OUTPUT(args, name, as, values) struct view name;
#define SIZE(args, name)               uint32_t name;
#define CODE(args, kind, name, as)     kind name;
#define REAL(args, name)               float name;
#define UNUSED(args, as, values)
#define FIXED(args, as, value)
#define END(name, plug_in)             };
/* clang-format on */
#include "spec/args.def"

struct backend_stats {
    uint64_t dispatches; /* operations that ran on the device since it was opened */
    char variant[64];    /* kernel variant of the last one: "matvec_q4_k_rows" */
    bool flushes;        /* the device may take subnormals of binary32 for zeros */
};

struct device_info {
    char subject[32]; /* "vulkan:0" */
    char name[128], driver[128], api[64];
    uint64_t memory_bytes;
    uint32_t subgroup_size;
    char features[256]; /* used and missing ones, in words */
};

struct backend_options {
    const char *device;  /* index or NULL for the default one (and its environment variable) */
    int n_threads;       /* cpu: 0 = one per core */
    const char *variant; /* forces kernels: the backend's own words, joined by '+'; NULL = choose.
                          * Unknown ones are ignored: backend_check knows them. */
};

struct backend_ops {
    const char *name; /* its row's name in engine/backends.def */
    bool simulated;   /* the processor plays the device's threads one by one: a test instrument */
    /* The backend always computes on the processor, in the host's memory. Another one may do so on
     * some of its devices, whose features then say "runs on the processor". */
    bool on_host;
    /* Words that force kernels, separated by spaces; one that ends in '=' or '-' takes more. */
    const char *words;

    /* ST_NO_DEVICE with the reason when there is none. */
    enum status (*open)(struct backend **out, const struct backend_options *o, struct err *e);
    void (*close)(struct backend *b);
    /* The i-th device; ST_NO_DEVICE past the last, with the reason when i is 0. */
    enum status (*describe)(uint32_t i, struct device_info *out, struct err *e);

    /* Memory, not initialised. NULL-safe release, after which queued work may still run. */
    enum status (*alloc)(struct backend *b, size_t bytes, struct dbuf **out, struct err *e);
    void (*release)(struct backend *b, struct dbuf *buf);
    /* Weights: host memory that stays valid and unchanged until release. The CPU reads it in
     * place, others upload it. */
    enum status (*import)(struct backend *b, const void *host, size_t bytes, struct dbuf **out,
                          struct err *e);
    /* In order with the operations; src may be reused at once. */
    enum status (*upload)(struct backend *b, struct view dst, const void *src, size_t bytes,
                          struct err *e);
    enum status (*download)(struct backend *b, void *dst, struct view src, size_t bytes,
                            struct err *e);
    enum status (*flush)(struct backend *b, struct err *e);
    void (*stats)(struct backend *b, struct backend_stats *out);

#define OP(name, args, types, tol)                                                                 \
    enum status (*name)(struct backend * b, const struct op_##args *a, struct err *e);
#include "spec/ops.def"
#undef OP
};

/* First member of every backend's own struct. */
struct backend_base {
    const struct backend_ops *ops;
};

static inline const struct backend_ops *backend_ops_of(const struct backend *b)
{
    return ((const struct backend_base *)(const void *)b)->ops;
}

/* The backends built into this program, in a fixed order; NULL past the last. */
const struct backend_ops *backend_at(size_t i);
/* By name; NULL if there is none of that name. */
const struct backend_ops *backend_by_name(const char *name);
/* By a name with or without a device and words, as in backend_check; NULL likewise. */
const struct backend_ops *backend_of_spec(const char *spec);
/* The name of the i-th row of engine/backends.def, built or not; NULL past the last. */
const char *backend_name_at(size_t i);
/* All these names, separated by ", ", cut at cap bytes. */
void backend_names(char *buf, size_t cap);
/* "cpu", "vulkan:1", "vulkan+reduce+half": a name, the index of a device, words that force kernels.
 * ST_USAGE if it names nothing that there could be. */
enum status backend_check(const char *spec, struct err *e);
/* Checks and opens. A backend left out at build time: ST_NO_DEVICE, with the reason. */
enum status backend_open(struct backend **out, const char *spec, const struct backend_options *o,
                         struct err *e);
void backend_close(struct backend *b);

#endif
