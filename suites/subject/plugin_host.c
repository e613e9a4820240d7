/* The child's side: holds the library and the buffers; see subject_plugin.h. */
#include "include/assay_subject.h"
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

/* One function per struct of arguments: the same with addresses. */
static int with_get_rows(struct host *h, const struct op_get_rows *a,
                         int (*f)(void *, const struct assay_get_rows *))
{
    const struct assay_get_rows o = {weight(h, a->w), at(h, a->ids), at(h, a->out), a->n};
    return f(h->s->ctx, &o);
}

static int with_norm(struct host *h, const struct op_norm *a,
                     int (*f)(void *, const struct assay_norm *))
{
    const struct assay_norm o = {at(h, a->x), at(h, a->w), at(h, a->b), at(h, a->out),
                                 a->rows,     a->n,        a->w_rows,   a->eps};
    return f(h->s->ctx, &o);
}

static int with_matmul(struct host *h, const struct op_matmul *a,
                       int (*f)(void *, const struct assay_matmul *))
{
    const struct assay_matmul o = {weight(h, a->w), at(h, a->x), at(h, a->bias), at(h, a->out),
                                   a->n_cols};
    return f(h->s->ctx, &o);
}

static int with_matmul_id(struct host *h, const struct op_matmul_id *a,
                          int (*f)(void *, const struct assay_matmul_id *))
{
    const struct assay_matmul_id o = {weight(h, a->w), at(h, a->x),   at(h, a->ids),
                                      at(h, a->bias),  at(h, a->out), a->n_tokens,
                                      a->n_used,       a->n_experts,  a->x_per_slot};
    return f(h->s->ctx, &o);
}

static int with_rope(struct host *h, const struct op_rope *a,
                     int (*f)(void *, const struct assay_rope *))
{
    const struct assay_rope o = {
        at(h, a->x), at(h, a->table),         a->n_tokens, a->n_heads, a->head_dim,
        a->n_dims,   a->pairing == ROPE_NEOX, a->first};
    return f(h->s->ctx, &o);
}

static int with_kv_write(struct host *h, const struct op_kv_write *a,
                         int (*f)(void *, const struct assay_kv_write *))
{
    const struct assay_kv_write o = {at(h, a->src), at(h, a->cells), at(h, a->cache),
                                     a->n_tokens,   a->row,          (uint32_t)a->type};
    return f(h->s->ctx, &o);
}

static int with_attention(struct host *h, const struct op_attention *a,
                          int (*f)(void *, const struct assay_attention *))
{
    const struct assay_attention o = {.q = at(h, a->q),
                                      .k = at(h, a->k),
                                      .v = at(h, a->v),
                                      .pos = at(h, a->pos),
                                      .first = at(h, a->first),
                                      .cell_pos = at(h, a->cell_pos),
                                      .sinks = at(h, a->sinks),
                                      .probs = at(h, a->probs),
                                      .out = at(h, a->out),
                                      .n_tokens = a->n_tokens,
                                      .n_heads = a->n_heads,
                                      .n_kv_heads = a->n_kv_heads,
                                      .head_dim = a->head_dim,
                                      .value_dim = a->value_dim,
                                      .n_cells = a->n_cells,
                                      .k_type = (uint32_t)a->k_type,
                                      .v_type = (uint32_t)a->v_type,
                                      .scale = a->scale,
                                      .softcap = a->softcap};
    return f(h->s->ctx, &o);
}

static int with_softmax(struct host *h, const struct op_softmax *a,
                        int (*f)(void *, const struct assay_softmax *))
{
    const struct assay_softmax o = {at(h, a->x), at(h, a->sinks), at(h, a->out), a->rows,
                                    a->n,        a->n_sinks};
    return f(h->s->ctx, &o);
}

static int with_rows(struct host *h, const struct op_rows *a,
                     int (*f)(void *, const struct assay_rows *))
{
    const struct assay_rows o = {at(h, a->x), at(h, a->out), a->rows, a->n};
    return f(h->s->ctx, &o);
}

static int with_unary(struct host *h, const struct op_unary *a,
                      int (*f)(void *, const struct assay_elements *))
{
    const struct assay_elements o = {at(h, a->x), NULL, at(h, a->out), a->n, 1};
    return f(h->s->ctx, &o);
}

static int with_binary(struct host *h, const struct op_binary *a,
                       int (*f)(void *, const struct assay_elements *))
{
    const struct assay_elements o = {at(h, a->a), at(h, a->b), at(h, a->out), a->n, 1};
    return f(h->s->ctx, &o);
}

static int with_scale(struct host *h, const struct op_scale *a,
                      int (*f)(void *, const struct assay_elements *))
{
    const struct assay_elements o = {at(h, a->x), NULL, at(h, a->out), a->n, a->factor};
    return f(h->s->ctx, &o);
}

static int with_scale_rows(struct host *h, const struct op_scale_rows *a,
                           int (*f)(void *, const struct assay_scale_rows *))
{
    const struct assay_scale_rows o = {at(h, a->x), at(h, a->factors), at(h, a->out), a->rows,
                                       a->n};
    return f(h->s->ctx, &o);
}

static int with_copy(struct host *h, const struct op_copy *a,
                     int (*f)(void *, const struct assay_copy *))
{
    const struct assay_copy o = {at(h, a->x), at(h, a->out), a->rows,    a->groups,   a->n,
                                 a->x_row,    a->x_group,    a->out_row, a->out_group};
    return f(h->s->ctx, &o);
}

static int with_route(struct host *h, const struct op_route *a,
                      int (*f)(void *, const struct assay_route *))
{
    const struct assay_route o = {at(h, a->logits),    at(h, a->bias), at(h, a->ids),
                                  at(h, a->weights),   a->n_tokens,    a->n_experts,
                                  a->n_used,           a->n_groups,    a->n_groups_used,
                                  (uint32_t)a->gating, a->normalise,   a->scale};
    return f(h->s->ctx, &o);
}

static int with_moe_sum(struct host *h, const struct op_moe_sum *a,
                        int (*f)(void *, const struct assay_moe_sum *))
{
    const struct assay_moe_sum o = {at(h, a->x), at(h, a->weights), at(h, a->out),
                                    a->n_tokens, a->n_used,         a->n};
    return f(h->s->ctx, &o);
}

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
