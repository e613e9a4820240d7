/* The child's side: holds the library and the buffers; see subject/plugin.h. */
#include "plugins/assay_subject.h"
#include "subject/plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- messages -------------------------------------------------------------------------------- */

static enum status write_all(int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n > 0) {
        const ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0 && errno == EFAULT) raise(SIGSEGV); /* what reading them here would do */
        if (k <= 0) return ST_DEVICE;
        p += k;
        n -= (size_t)k;
    }
    return ST_OK;
}

enum status plugin_write(int fd, const struct plugin_head *h, const void *data)
{
    enum status st = write_all(fd, h, sizeof *h);
    return st == ST_OK && h->data ? write_all(fd, data, h->data) : st;
}

enum status plugin_read(int fd, void *data, size_t n, int timeout_ms)
{
    char *p = data;
    while (n > 0) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        const int r = poll(&ready, 1, timeout_ms);
        if (r < 0 && errno == EINTR) continue;
        if (r == 0) return ST_CANCELLED;
        const ssize_t k = recv(fd, p, n, 0);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return ST_DEVICE;
        p += k;
        n -= (size_t)k;
    }
    return ST_OK;
}

/* ---- the child ------------------------------------------------------------------------------- */

struct memory {
    uint64_t key;
    uint8_t *at;
    size_t bytes;
};

struct host {
    int fd;
    const struct assay_subject *s;
    struct memory *memory;
    size_t n, cap;
    void *data; /* of the message at hand */
    float *given;
    char misuse[160]; /* of the probe, the first one */
};

static void answer(struct host *h, enum status st, const void *data, size_t bytes)
{
    const struct plugin_head d = {.what = PLUGIN_DONE, .status = st, .data = bytes};
    if (plugin_write(h->fd, &d, data) != ST_OK) _exit(0); /* nobody is there any more */
}

static void answer_text(struct host *h, enum status st, const char *text)
{
    answer(h, st, text, strlen(text) + 1);
}

static void answer_code(struct host *h, int code, const void *data, size_t bytes)
{
    const char *why = code && h->s->error ? h->s->error(h->s->ctx) : NULL;
    if (code == ASSAY_OK)
        answer(h, ST_OK, data, bytes);
    else if (code == ASSAY_UNSUPPORTED)
        answer_text(h, ST_UNSUPPORTED, why ? why : "the plug-in does not support it");
    else
        answer_text(h, ST_DEVICE, why ? why : "the plug-in failed without a reason");
}

static struct memory *memory_of(struct host *h, uint64_t key)
{
    for (size_t i = 0; i < h->n; i++)
        if (h->memory[i].key == key) return &h->memory[i];
    return NULL;
}

static void do_alloc(struct host *h, const struct plugin_head *m)
{
    if (h->n == h->cap) {
        const size_t cap = h->cap ? 2 * h->cap : 64;
        struct memory *grown = realloc(h->memory, cap * sizeof *grown);
        if (!grown) {
            answer_text(h, ST_NOMEM, "out of memory in the plug-in's process");
            return;
        }
        h->memory = grown;
        h->cap = cap;
    }
    uint8_t *at = malloc(m->bytes ? m->bytes : 1);
    if (!at) {
        answer_text(h, ST_NOMEM, "out of memory in the plug-in's process");
        return;
    }
    h->memory[h->n++] = (struct memory){m->key, at, m->bytes};
    answer(h, ST_OK, NULL, 0);
}

static void do_release(struct host *h, const struct plugin_head *m)
{
    struct memory *k = memory_of(h, m->key);
    if (!k) return;
    free(k->at);
    *k = h->memory[--h->n];
}

static void do_copy(struct host *h, const struct plugin_head *m)
{
    struct memory *k = memory_of(h, m->key);
    const size_t n = m->what == PLUGIN_UPLOAD ? m->data : m->bytes;
    if (!k || m->offset > k->bytes || n > k->bytes - m->offset) {
        answer_text(h, ST_RANGE, "bytes outside of a buffer");
        return;
    }
    if (m->what == PLUGIN_UPLOAD) {
        memcpy(k->at + m->offset, h->data, n);
        answer(h, ST_OK, NULL, 0);
    } else {
        answer(h, ST_OK, k->at + m->offset, n);
    }
}

/* ---- operations ------------------------------------------------------------------------------ */

static void *at(struct host *h, struct view v)
{
    struct memory *k = v.buf ? memory_of(h, (uint64_t)(uintptr_t)v.buf) : NULL;
    return k && v.off <= k->bytes ? k->at + v.off : NULL;
}

static struct assay_weight weight(struct host *h, struct weight w)
{
    return (struct assay_weight){at(h, w.at), (uint32_t)w.type, w.n_in, w.n_out};
}

/* What the list of arguments calls F32, I32 and BYTES. */
typedef float host_F32;
typedef int32_t host_I32;
typedef void host_BYTES;

/* The plug-in's structs as the list has them. */
/* clang-format off */
#define ARGS(name, plug_in)            struct listed_##name {
#define WEIGHT(args, name)             struct assay_weight name;
#define INPUT(args, name, as, values)  const host_##values *as;
#define OUTPUT(args, name, as, values) host_##values *as;
#define SIZE(args, name)               uint32_t name;
#define CODE(args, kind, name, as)     uint32_t as;
#define REAL(args, name)               float name;
#define UNUSED(args, as, values)       const host_##values *as;
#define FIXED(args, as, value)         float as;
#define END(name, plug_in)             };
/* clang-format on */
#include "spec/args.def"

/* assay_subject.h, which is written by hand, has the same fields at the same places, and no
 * others. */
#define SAME(field, kind)                                                                          \
    _Static_assert(_Generic(((theirs *)0)->field, kind : 1, default : 0) &&                        \
                       offsetof(theirs, field) == offsetof(listed, field),                         \
                   "assay_subject.h and spec/args.def differ in " #field);
#define ARGS(name, plug_in)                                                                        \
    static inline void check_##name(void)                                                          \
    {                                                                                              \
        typedef struct listed_##name listed;                                                       \
        typedef struct assay_##plug_in theirs;                                                     \
        _Static_assert(sizeof(theirs) == sizeof(listed),                                           \
                       "assay_subject.h has other fields than spec/args.def: assay_" #plug_in);
#define WEIGHT(args, name)             SAME(name, struct assay_weight)
#define INPUT(args, name, as, values)  SAME(as, const host_##values *)
#define OUTPUT(args, name, as, values) SAME(as, host_##values *)
#define SIZE(args, name)               SAME(name, uint32_t)
#define CODE(args, kind, name, as)     SAME(as, uint32_t)
#define REAL(args, name)               SAME(name, float)
#define UNUSED(args, as, values)       SAME(as, const host_##values *)
#define FIXED(args, as, value)         SAME(as, float)
#define END(name, plug_in)             }
#include "spec/args.def"

/* One function per struct of arguments: calls f with the same arguments, addresses in place of
 * keys. Values come in order and without names, so that the compiler refuses a field without
 * one. */
/* clang-format off */
#define ARGS(name, plug_in)                                                                        \
    static int with_##name(struct host *h, const struct op_##name *a,                              \
                           int (*f)(void *, const struct assay_##plug_in *))                       \
    {                                                                                              \
        const struct assay_##plug_in theirs = {
#define WEIGHT(args, name)             weight(h, a->name),
#define INPUT(args, name, as, values)  at(h, a->name),
#define OUTPUT(args, name, as, values) at(h, a->name),
#define SIZE(args, name)               a->name,
#define CODE(args, kind, name, as)     (uint32_t)a->name,
#define REAL(args, name)               a->name,
#define UNUSED(args, as, values)       NULL,
#define FIXED(args, as, value)         (value),
#define END(name, plug_in)                                                                         \
        };                                                                                         \
        return f(h->s->ctx, &theirs);                                                              \
    }
#include "spec/args.def"
/* clang-format on */

_Static_assert(ROPE_NORM == 0 && ROPE_NEOX == 1, "assay_rope.neox is not zero for NEOX pairs");
_Static_assert(ROUTE_SOFTMAX == 1 && ROUTE_SIGMOID == 2 && ROUTE_SOFTMAX_CHOSEN == 3,
               "assay_route.gating has these values");

static void do_op(struct host *h, const struct plugin_head *m)
{
    int code = ASSAY_UNSUPPORTED;
    switch ((enum op)m->which) {
#define OP(name, args, types, tol)                                                                 \
    case OP_##name: {                                                                              \
        struct op_##args a;                                                                        \
        if (m->data != sizeof a || !h->s->ops || !h->s->ops->name) break;                          \
        memcpy(&a, h->data, sizeof a);                                                             \
        code = with_##args(h, &a, h->s->ops->name);                                                \
        break;                                                                                     \
    }
#include "spec/ops.def"
#undef OP
    case OP_COUNT:
        break;
    }
    answer_code(h, code, NULL, 0);
}

static void do_decode(struct host *h, const struct plugin_head *m)
{
    float *out = calloc(m->bytes + 1, sizeof *out);
    const int code = out ? h->s->decode(h->s->ctx, m->which, h->data, m->bytes, out) : ASSAY_FAILED;
    answer_code(h, code, out, m->bytes * sizeof *out);
    free(out);
}

/* ---- evaluation ------------------------------------------------------------------------------ */

static const uint64_t MAX_VALUES = (uint64_t)1 << 38;

static uint32_t site_of(const char *name)
{
    if (!name) return SITE_COUNT;
    for (uint32_t i = 0; i < SITE_COUNT; i++)
        if (strcmp(site_table[i].name, name) == 0) return i;
    return SITE_COUNT;
}

/* Reads the parent's answer to a question of the probe; its data, if any, is at h->given. */
static bool hear(struct host *h, struct plugin_head *d)
{
    if (plugin_read(h->fd, d, sizeof *d, -1) != ST_OK) _exit(0);
    if (d->data == 0) return false;
    float *grown = realloc(h->given, d->data);
    if (!grown) _exit(1);
    h->given = grown;
    if (plugin_read(h->fd, h->given, d->data, -1) != ST_OK) _exit(0);
    return true;
}

static int probe_want(void *ctx, const char *site, uint32_t layer)
{
    struct host *h = ctx;
    struct plugin_head q = {.what = PLUGIN_WANT, .which = site_of(site), .layer = layer};
    if (q.which == SITE_COUNT) return 0;
    if (plugin_write(h->fd, &q, NULL) != ST_OK) _exit(0);
    hear(h, &q);
    return q.key != 0;
}

static void probe_take(void *ctx, const char *site, uint32_t layer, const float *values,
                       uint64_t rows, uint64_t cols)
{
    struct host *h = ctx;
    if (site_of(site) == SITE_COUNT || !values || (cols && rows > MAX_VALUES / cols)) {
        if (*h->misuse) return;
        snprintf(h->misuse, sizeof h->misuse,
                 site_of(site) == SITE_COUNT ? "the plug-in shows '%.40s', which is no site"
                 : values                    ? "the plug-in shows too many values of %.40s"
                                             : "the plug-in shows %.40s without values",
                 site ? site : "NULL");
        return;
    }
    const struct plugin_head q = {.what = PLUGIN_TAKE,
                                  .which = site_of(site),
                                  .layer = layer,
                                  .rows = rows,
                                  .cols = cols,
                                  .data = rows * cols * sizeof(float)};
    if (plugin_write(h->fd, &q, values) != ST_OK) _exit(0);
}

static const float *probe_give(void *ctx, const char *site, uint32_t layer, uint64_t rows,
                               uint64_t cols)
{
    struct host *h = ctx;
    struct plugin_head q = {
        .what = PLUGIN_GIVE, .which = site_of(site), .layer = layer, .rows = rows, .cols = cols};
    if (q.which == SITE_COUNT) return NULL;
    if (plugin_write(h->fd, &q, NULL) != ST_OK) _exit(0);
    return hear(h, &q) && q.data == rows * cols * sizeof(float) ? h->given : NULL;
}

/* data: the path with its NUL, padded to a multiple of 4, then the tokens. */
static void do_eval(struct host *h, const struct plugin_head *m)
{
    const struct assay_probe probe = {h, probe_want, probe_take, probe_give};
    const size_t n = m->rows, n_vocab = m->cols;
    float *logits = calloc(n * n_vocab + 1, sizeof *logits);
    const int32_t *tokens = (const int32_t *)(const void *)((const char *)h->data + m->offset);
    *h->misuse = 0;
    const int code =
        logits ? h->s->eval(h->s->ctx, h->data, tokens, n, n_vocab, logits, &probe) : ASSAY_FAILED;
    if (code == ASSAY_OK && *h->misuse)
        answer_text(h, ST_DEVICE, h->misuse);
    else
        answer_code(h, code, logits, n * n_vocab * sizeof *logits);
    free(logits);
}

/* ---- life ------------------------------------------------------------------------------------ */

static const struct assay_subject *load(struct host *h, const char *path)
{
    char local[4096], why[512];
    const struct assay_subject *(*entry)(uint32_t abi);
    snprintf(local, sizeof local, "%s%s", strchr(path, '/') ? "" : "./", path);
    void *lib = dlopen(local, RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        snprintf(why, sizeof why, "%.400s", dlerror());
        answer_text(h, ST_IO, why);
        return NULL;
    }
    void *symbol = dlsym(lib, "assay_subject");
    if (!symbol) {
        snprintf(why, sizeof why, "%.300s exports no symbol assay_subject", path);
        answer_text(h, ST_USAGE, why);
        return NULL;
    }
    memcpy(&entry, &symbol, sizeof entry);
    const struct assay_subject *s = entry(ASSAY_SUBJECT_ABI);
    if (!s || s->abi != ASSAY_SUBJECT_ABI) {
        snprintf(why, sizeof why, "%.300s speaks ABI %u, this program %u", path, s ? s->abi : 0,
                 ASSAY_SUBJECT_ABI);
        answer_text(h, ST_UNSUPPORTED, why);
        return NULL;
    }
    return s;
}

static void greet(struct host *h)
{
    struct plugin_hello hello = {
        .decode = h->s->decode, .eval = h->s->eval, .gives = (h->s->flags & ASSAY_GIVES) != 0};
    snprintf(hello.name, sizeof hello.name, "%.120s", h->s->name ? h->s->name : "unnamed");
    if (h->s->activations)
        snprintf(hello.activations, sizeof hello.activations, "%s", h->s->activations);
    if (h->s->ops) {
#define OP(op, args, types, tol) hello.ops[OP_##op] = h->s->ops->op != NULL;
#include "spec/ops.def"
#undef OP
    }
    answer(h, ST_OK, &hello, sizeof hello);
}

void plugin_serve(int fd, const char *path)
{
    struct host h = {.fd = fd};
    struct plugin_head m;
    h.s = load(&h, path);
    if (!h.s) _exit(0);
    greet(&h);
    while (plugin_read(fd, &m, sizeof m, -1) == ST_OK) {
        free(h.data);
        h.data = malloc(m.data ? m.data : 1);
        if (!h.data || plugin_read(fd, h.data, m.data, -1) != ST_OK) break;
        switch (m.what) {
        case PLUGIN_ALLOC:
            do_alloc(&h, &m);
            break;
        case PLUGIN_RELEASE:
            do_release(&h, &m);
            break;
        case PLUGIN_UPLOAD:
        case PLUGIN_DOWNLOAD:
            do_copy(&h, &m);
            break;
        case PLUGIN_OP:
            do_op(&h, &m);
            break;
        case PLUGIN_DECODE:
            do_decode(&h, &m);
            break;
        case PLUGIN_EVAL:
            do_eval(&h, &m);
            break;
        case PLUGIN_HELLO:
        case PLUGIN_WANT:
        case PLUGIN_TAKE:
        case PLUGIN_GIVE:
        case PLUGIN_DONE:
            _exit(1);
        }
    }
    _exit(0);
}
