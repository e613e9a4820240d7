/* Writing a report as it grows; see stream.h. */
#include "reports/buffer.h"
#include "reports/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Cases wait for at most this long, or until this much waits. */
static const double checkpoint_seconds = 0.25;
enum { WAITING_MAX = 1 << 20, COST_FACTOR = 20 };

struct stream {
    struct buffer head, waiting;
    char *path;
    int fd;            /* -1 = no file yet */
    off_t at;          /* where the next case goes */
    off_t end;         /* size of the file */
    bool once;         /* a pipe or a device: written in one go, at the end */
    bool has_cases;    /* in the file */
    double last, cost; /* of checkpoints, in seconds */
    struct err err;    /* the first failure */
};

/* The members of an object without its braces. */
static void add_members(struct buffer *b, const json_t *object)
{
    struct buffer dump = {0};
    buffer_json(&dump, object, JSON_INDENT(1));
    if (dump.n > 4) buffer_add(b, dump.data + 2, dump.n - 4);
    b->failed = b->failed || dump.failed;
    buffer_free(&dump);
}

enum status stream_open(struct stream **out, json_t *head, struct err *e)
{
    struct stream *s = calloc(1, sizeof *s);
    if (!s) return fail(e, ST_NOMEM, "no memory for the report");
    s->fd = -1;
    buffer_put(&s->head, "{\n");
    add_members(&s->head, head);
    buffer_put(&s->head, ",\n \"cases\": [");
    if (s->head.failed) {
        stream_close(s);
        return fail(e, ST_NOMEM, "no memory for the report");
    }
    *out = s;
    return ST_OK;
}

void stream_close(struct stream *s)
{
    if (!s) return;
    if (s->fd >= 0) close(s->fd);
    buffer_free(&s->head);
    buffer_free(&s->waiting);
    free(s->path);
    free(s);
}

bool stream_has_path(const struct stream *s)
{
    return s->fd >= 0;
}

/* ---- the file ---------------------------------------------------------------------------- */

bool stream_is_live(const struct stream *s)
{
    return s->fd >= 0 && !s->once;
}

static bool write_at(const struct stream *s, const char *data, size_t n, off_t at)
{
    while (n) {
        ssize_t k = s->once ? write(s->fd, data, n) : pwrite(s->fd, data, n, at);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return false;
        data += k;
        n -= (size_t)k;
        at += k;
    }
    return true;
}

/* The new file, under another name until its first checkpoint is written. */
static int create(const char *path, char *temp, size_t cap)
{
    for (unsigned i = 0; i < 10000; i++) {
        int n = snprintf(temp, cap, "%s.tmp-%ld-%u", path, (long)getpid(), i);
        if (n < 0 || (size_t)n >= cap) {
            errno = ENAMETOOLONG;
            return -1;
        }
        int fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) return fd;
    }
    return -1;
}

static enum status start_file(struct stream *s, json_t *rest, struct err *e)
{
    char temp[4600];
    s->fd = create(s->path, temp, sizeof temp);
    if (s->fd < 0) return fail(e, ST_IO, "%s: cannot be written: %s", s->path, strerror(errno));
    s->at = (off_t)s->head.n;
    if (!write_at(s, s->head.data, s->head.n, 0))
        fail(&s->err, ST_IO, "%s: cannot be written: %s", s->path, strerror(errno));
    if (stream_checkpoint(s, rest, e) == ST_OK && rename(temp, s->path) != 0)
        fail(&s->err, ST_IO, "%s: cannot be put in place: %s", s->path, strerror(errno));
    if (s->err.st != ST_OK) unlink(temp);
    return s->err.st == ST_OK ? ST_OK : fail(e, s->err.st, "%s", s->err.text);
}

static enum status start_pipe(struct stream *s, struct err *e)
{
    s->once = true;
    s->fd = open(s->path, O_WRONLY | O_CLOEXEC);
    if (s->fd < 0) return fail(e, ST_IO, "%s: cannot be written: %s", s->path, strerror(errno));
    return ST_OK;
}

enum status stream_path(struct stream *s, const char *path, json_t *rest, struct err *e)
{
    struct stat st;
    bool exists = stat(path, &st) == 0;
    if (exists && S_ISDIR(st.st_mode)) return fail(e, ST_IO, "%s: is a directory", path);
    bool plain = !exists || S_ISREG(st.st_mode);
    s->path = exists && plain ? realpath(path, NULL) : strdup(path);
    if (!s->path) return fail(e, ST_NOMEM, "no memory for the report");
    return plain ? start_file(s, rest, e) : start_pipe(s, e);
}

void stream_case(struct stream *s, json_t *item)
{
    buffer_put(&s->waiting, s->has_cases || s->waiting.n ? ",\n  " : "\n  ");
    buffer_json(&s->waiting, item, JSON_COMPACT);
    json_decref(item);
}

bool stream_is_due(const struct stream *s)
{
    double since = now_seconds() - s->last;
    return stream_is_live(s) && s->waiting.n &&
           (s->waiting.n > WAITING_MAX ||
            (since > checkpoint_seconds && since > COST_FACTOR * s->cost));
}

enum status stream_checkpoint(struct stream *s, json_t *rest, struct err *e)
{
    if (s->err.st != ST_OK) return fail(e, s->err.st, "%s", s->err.text);
    double start = now_seconds();
    size_t n_cases = s->waiting.n;
    buffer_put(&s->waiting, "\n ],\n");
    add_members(&s->waiting, rest);
    buffer_put(&s->waiting, "\n}\n");
    bool ok = !s->waiting.failed;
    if (!ok) fail(&s->err, ST_NOMEM, "%s: no memory for the report", s->path);
    if (ok && s->once) ok = write_at(s, s->head.data, s->head.n, 0);
    if (ok) ok = write_at(s, s->waiting.data, s->waiting.n, s->at);
    off_t end = s->at + (off_t)s->waiting.n;
    if (ok && !s->once && end < s->end && ftruncate(s->fd, end) != 0) ok = false;
    if (!ok) fail(&s->err, ST_IO, "%s: cannot be written: %s", s->path, strerror(errno));
    s->at += (off_t)n_cases;
    s->end = end;
    s->has_cases = s->has_cases || n_cases;
    s->waiting.n = 0;
    s->last = now_seconds();
    s->cost = s->last - start;
    return s->err.st == ST_OK ? ST_OK : fail(e, s->err.st, "%s", s->err.text);
}

enum status stream_finish(struct stream *s, json_t *rest, struct err *e)
{
    enum status st = stream_checkpoint(s, rest, e);
    if (s->fd >= 0 && close(s->fd) != 0 && st == ST_OK)
        st = fail(e, ST_IO, "%s: cannot be written: %s", s->path, strerror(errno));
    s->fd = -1;
    return st;
}
