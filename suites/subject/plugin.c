/* The parent's side of plug-ins: a backend whose every call goes to the child; see
 * subject/plugin.h. */
#include "subject/plugin.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct plugin {
    struct backend_base base; /* base.ops points to ops */
    struct backend_ops ops;
    struct plugin_hello hello;
    int fd;
    pid_t child;
    int timeout_ms;
    uint64_t next_key, dispatches;
    char last[64];   /* operation that was asked for */
    struct err dead; /* why the child is no more */
};

static struct plugin *plugin_of(struct backend *b)
{
    return (struct plugin *)(void *)b;
}

/* ---- talking --------------------------------------------------------------------------------- */

/* The child is gone or hangs: says how, ends it, and remembers. */
static enum status bury(struct plugin *p, enum status how, struct err *e)
{
    int state = 0;
    if (p->dead.st == ST_OK) {
        if (how == ST_CANCELLED) kill(p->child, SIGKILL);
        close(p->fd);
        p->fd = -1;
        waitpid(p->child, &state, 0);
        if (how == ST_CANCELLED)
            fail(&p->dead, ST_DEVICE, "the plug-in hangs: no answer to %s within %d s", p->last,
                 p->timeout_ms / 1000);
        else if (WIFSIGNALED(state))
            fail(&p->dead, ST_DEVICE, "the plug-in crashed in %s: signal %d (%s)", p->last,
                 WTERMSIG(state), strsignal(WTERMSIG(state)));
        else
            fail(&p->dead, ST_DEVICE, "the plug-in ended its process in %s: status %d", p->last,
                 WEXITSTATUS(state));
    }
    return fail(e, p->dead.st, "%s", p->dead.text);
}

static enum status say(struct plugin *p, const struct plugin_head *h, const void *data,
                       struct err *e)
{
    if (p->dead.st != ST_OK) return fail(e, p->dead.st, "%s", p->dead.text);
    const enum status st = plugin_write(p->fd, h, data);
    return st == ST_OK ? ST_OK : bury(p, st, e);
}

/* Takes the data behind a head: n bytes into out, or, of a failure, the text into e. */
static enum status take_data(struct plugin *p, const struct plugin_head *h, void *out, size_t n,
                             struct err *e)
{
    char text[sizeof e->text];
    if (h->status == ST_OK && h->data != n)
        return fail(e, ST_DEVICE, "the plug-in's process answers %llu bytes in place of %zu",
                    (unsigned long long)h->data, n);
    if (h->status != ST_OK && h->data >= sizeof text)
        return fail(e, ST_DEVICE, "the plug-in gives a reason of %llu bytes",
                    (unsigned long long)h->data);
    const enum status st =
        plugin_read(p->fd, h->status == ST_OK ? out : text, h->data, p->timeout_ms);
    if (st != ST_OK) return bury(p, st, e);
    if (h->status == ST_OK) return ST_OK;
    text[h->data] = 0;
    return fail(e, (enum status)h->status, "%s", text);
}

static enum status hear(struct plugin *p, void *out, size_t n, struct err *e)
{
    struct plugin_head h;
    const enum status st = plugin_read(p->fd, &h, sizeof h, p->timeout_ms);
    return st == ST_OK ? take_data(p, &h, out, n, e) : bury(p, st, e);
}

static enum status ask(struct plugin *p, const struct plugin_head *h, const void *data, void *out,
                       size_t n, struct err *e)
{
    const enum status st = say(p, h, data, e);
    return st == ST_OK ? hear(p, out, n, e) : st;
}

/* ---- the backend ----------------------------------------------------------------------------- */

static enum status plugin_alloc(struct backend *b, size_t bytes, struct dbuf **out, struct err *e)
{
    struct plugin *p = plugin_of(b);
    const struct plugin_head h = {.what = PLUGIN_ALLOC, .key = ++p->next_key, .bytes = bytes};
    *out = NULL;
    const enum status st = ask(p, &h, NULL, NULL, 0, e);
    if (st == ST_OK) *out = (struct dbuf *)(uintptr_t)h.key;
    return st;
}

static void plugin_release(struct backend *b, struct dbuf *buf)
{
    const struct plugin_head h = {.what = PLUGIN_RELEASE, .key = (uint64_t)(uintptr_t)buf};
    if (buf) say(plugin_of(b), &h, NULL, NULL);
}

static enum status plugin_upload(struct backend *b, struct view dst, const void *src, size_t bytes,
                                 struct err *e)
{
    const struct plugin_head h = {.what = PLUGIN_UPLOAD,
                                  .key = (uint64_t)(uintptr_t)dst.buf,
                                  .offset = dst.off,
                                  .data = bytes};
    return ask(plugin_of(b), &h, src, NULL, 0, e);
}

static enum status plugin_import(struct backend *b, const void *host, size_t bytes,
                                 struct dbuf **out, struct err *e)
{
    const enum status st = plugin_alloc(b, bytes, out, e);
    return st == ST_OK ? plugin_upload(b, (struct view){*out, 0}, host, bytes, e) : st;
}

static enum status plugin_download(struct backend *b, void *dst, struct view src, size_t bytes,
                                   struct err *e)
{
    const struct plugin_head h = {.what = PLUGIN_DOWNLOAD,
                                  .key = (uint64_t)(uintptr_t)src.buf,
                                  .offset = src.off,
                                  .bytes = bytes};
    return ask(plugin_of(b), &h, NULL, dst, bytes, e);
}

static enum status plugin_flush(struct backend *b, struct err *e)
{
    (void)b, (void)e;
    return ST_OK;
}

static void plugin_stats(struct backend *b, struct backend_stats *out)
{
    const struct plugin *p = plugin_of(b);
    *out = (struct backend_stats){.dispatches = p->dispatches};
    snprintf(out->variant, sizeof out->variant, "%s", p->last);
}

static enum status call(struct backend *b, enum op op, const void *args, size_t n, struct err *e)
{
    struct plugin *p = plugin_of(b);
    const struct plugin_head h = {.what = PLUGIN_OP, .which = (uint32_t)op, .data = n};
    snprintf(p->last, sizeof p->last, "%s", op_table[op].name);
    const enum status st = ask(p, &h, args, NULL, 0, e);
    if (st == ST_OK) p->dispatches++;
    return st;
}

#define OP(name, args, types, tol)                                                                 \
    static enum status plugin_##name(struct backend *b, const struct op_##args *a, struct err *e)  \
    {                                                                                              \
        return call(b, OP_##name, a, sizeof *a, e);                                                \
    }
#include "spec/ops.def"
#undef OP

static void plugin_end(struct plugin *p)
{
    int state;
    if (p->dead.st == ST_OK && p->fd >= 0) {
        close(p->fd); /* the child reads the end of the file and exits */
        for (int i = 0; i < 100; i++) {
            if (waitpid(p->child, &state, WNOHANG) == p->child) goto out;
            usleep(10000);
        }
        kill(p->child, SIGKILL);
        waitpid(p->child, &state, 0);
    }
out:
    free(p);
}

/* The subject owns it: backend_close, if any, comes through here. */
static void plugin_close_backend(struct backend *b)
{
    (void)b;
}

static void fill_ops(struct plugin *p)
{
    p->ops = (struct backend_ops){.name = "plugin",
                                  .close = plugin_close_backend,
                                  .alloc = plugin_alloc,
                                  .release = plugin_release,
                                  .import = plugin_import,
                                  .upload = plugin_upload,
                                  .download = plugin_download,
                                  .flush = plugin_flush,
                                  .stats = plugin_stats};
#define OP(op, args, types, tol)                                                                   \
    if (p->hello.ops[OP_##op]) p->ops.op = plugin_##op;
#include "spec/ops.def"
#undef OP
    p->base.ops = &p->ops;
}

/* ---- the other levels ------------------------------------------------------------------------ */

static enum status plugin_decode(void *ctx, enum tensor_type t, const uint8_t *blocks, size_t n,
                                 float *out, struct err *e)
{
    struct plugin *p = ctx;
    const struct plugin_head h = {.what = PLUGIN_DECODE,
                                  .which = (uint32_t)t,
                                  .bytes = n,
                                  .data = type_bytes(type_by_id(t), n)};
    snprintf(p->last, sizeof p->last, "decode");
    const enum status st = ask(p, &h, blocks, out, n * sizeof *out, e);
    if (st == ST_OK) p->dispatches++;
    return st;
}

/* What the child's probe says or asks, until it is done. */
static enum status attend(struct plugin *p, const struct engine_probe *probe, float *logits,
                          size_t bytes, struct err *e)
{
    float *values = NULL;
    enum status st = ST_OK;
    while (st == ST_OK) {
        struct plugin_head h, reply = {.what = PLUGIN_DONE};
        const void *data = NULL;
        st = plugin_read(p->fd, &h, sizeof h, p->timeout_ms);
        if (st != ST_OK) {
            st = bury(p, st, e);
            break;
        }
        if (h.what == PLUGIN_DONE) {
            st = take_data(p, &h, logits, bytes, e);
            break;
        }
        const enum site site = (enum site)h.which;
        if (h.which >= SITE_COUNT || h.data > (uint64_t)1 << 40) {
            st = fail(e, ST_DEVICE, "the plug-in's process speaks nonsense");
            break;
        }
        if (h.what == PLUGIN_WANT) {
            reply.key = probe && probe->want && probe->want(probe->ctx, site, h.layer);
        } else if (h.what == PLUGIN_GIVE) {
            data = probe && probe->give ? probe->give(probe->ctx, site, h.layer, h.rows, h.cols)
                                        : NULL;
            reply.data = data ? h.rows * h.cols * sizeof(float) : 0;
        } else {
            free(values);
            values = malloc(h.data ? h.data : 1);
            st = values ? plugin_read(p->fd, values, h.data, p->timeout_ms) : ST_NOMEM;
            if (st != ST_OK)
                st = values ? bury(p, st, e) : fail(e, ST_NOMEM, "no memory for a site");
            else if (probe && probe->take)
                probe->take(probe->ctx, site, h.layer, values, h.rows, h.cols);
            continue;
        }
        st = say(p, &reply, data, e);
    }
    free(values);
    return st;
}

static enum status plugin_eval(void *ctx, const struct subject_eval *a, struct err *e)
{
    struct plugin *p = ctx;
    const size_t path = (strlen(a->model) + 4) / 4 * 4, bytes = path + a->n * sizeof *a->tokens;
    char *data = alloc_array(bytes, 1);
    const struct plugin_head h = {
        .what = PLUGIN_EVAL, .rows = a->n, .cols = a->n_vocab, .offset = path, .data = bytes};
    if (!data) return fail(e, ST_NOMEM, "no memory for %zu tokens", a->n);
    strcpy(data, a->model);
    memcpy(data + path, a->tokens, a->n * sizeof *a->tokens);
    snprintf(p->last, sizeof p->last, "eval");
    enum status st = say(p, &h, data, e);
    free(data);
    if (st == ST_OK) st = attend(p, a->probe, a->logits, a->n * a->n_vocab * sizeof(float), e);
    if (st == ST_OK) p->dispatches++;
    return st;
}

/* ---- opening --------------------------------------------------------------------------------- */

static enum status start(struct plugin *p, const char *path, struct err *e)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0)
        return fail(e, ST_IO, "cannot make a socket: %s", strerror(errno));
    fflush(NULL);
    p->child = fork();
    if (p->child < 0) {
        close(fds[0]);
        close(fds[1]);
        return fail(e, ST_IO, "cannot start a process: %s", strerror(errno));
    }
    if (p->child == 0) {
        static const int signals[] = {SIGSEGV, SIGBUS,  SIGFPE, SIGILL,
                                      SIGABRT, SIGALRM, SIGINT, SIGTERM};
        for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) signal(signals[i], SIG_DFL);
        close(fds[0]);
        dup2(STDERR_FILENO, STDOUT_FILENO); /* what it prints is no output of this program */
        plugin_serve(fds[1], path);
    }
    close(fds[1]);
    p->fd = fds[0];
    snprintf(p->last, sizeof p->last, "loading");
    return hear(p, &p->hello, sizeof p->hello, e);
}

static enum status plugin_open(struct subject *out, const char *path, struct err *e)
{
    const char *limit = getenv("ASSAY_PLUGIN_TIMEOUT"); /* seconds */
    struct plugin *p = alloc_array(1, sizeof *p);
    if (!p) return fail(e, ST_NOMEM, "no memory for a plug-in");
    p->fd = -1;
    const long seconds = limit ? strtol(limit, NULL, 10) : 0;
    p->timeout_ms = (int)(seconds > 0 && seconds < 86400 ? seconds : 120) * 1000;
    enum status st = start(p, path, e);
    if (st != ST_OK) {
        plugin_end(p);
        return st;
    }
    fill_ops(p);
    out->ctx = p;
    for (size_t i = 0; i < OP_COUNT; i++)
        if (p->hello.ops[i]) out->backend = (struct backend *)(void *)p;
    if (p->hello.decode) out->decode = plugin_decode;
    if (p->hello.eval) out->eval = plugin_eval;
    out->gives = p->hello.gives;
    out->activations = *p->hello.activations ? p->hello.activations : NULL;
    return ST_OK;
}

static void plugin_close(struct subject *s)
{
    plugin_end(s->ctx);
}

const struct subject_kind plugin_kind = {"plugin", plugin_open, plugin_close};
