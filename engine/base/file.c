/* Whole files as bytes (mapped, or inflated when gzip-compressed), and files that appear under
 * their name only when complete. */
#define ZLIB_CONST /* next_in is const */
#include "engine/base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* Inflated files live in memory: beyond this a compressed model is asked to be decompressed. */
static const size_t inflate_limit = (size_t)4 << 30;
enum { HEAP_ALIGN = 64, FEED_BYTES = 1 << 30 };

static enum status fail_errno(struct err *e, int error)
{
    return fail(e, error == ENOMEM ? ST_NOMEM : ST_IO, "%s", strerror(error));
}

/* ---- inflating ---- */

struct growing {
    uint8_t *data;
    size_t size, cap;
};

static enum status grow(struct growing *g, size_t cap, struct err *e)
{
    cap = (cap + HEAP_ALIGN - 1) / HEAP_ALIGN * HEAP_ALIGN;
    uint8_t *p = aligned_alloc(HEAP_ALIGN, cap);
    if (!p) return fail(e, ST_NOMEM, "no memory for %zu inflated bytes", cap);
    if (g->size) memcpy(p, g->data, g->size);
    free(g->data);
    g->data = p;
    g->cap = cap;
    return ST_OK;
}

/* The uncompressed size that the last four bytes promise: a hint, true only below 4 GiB and for
 * one member. Deflate cannot expand more than 1032 times. */
static size_t promised_size(struct span in)
{
    size_t most = in.size < inflate_limit / 1032 ? in.size * 1032 : inflate_limit;
    if (in.size < 18) return 4096;
    const uint8_t *t = in.data + in.size - 4;
    size_t size = (size_t)t[0] | (size_t)t[1] << 8 | (size_t)t[2] << 16 | (size_t)t[3] << 24;
    size += HEAP_ALIGN; /* room left at the end tells zlib and us that nothing follows */
    return size > most ? most : size < 4096 ? 4096 : size;
}

static size_t at_most(size_t n, size_t limit)
{
    return n < limit ? n : limit;
}

static enum status inflate_member(z_stream *z, struct span in, size_t *pos, struct growing *out,
                                  struct err *e)
{
    for (;;) {
        if (out->size == out->cap) {
            if (out->cap >= inflate_limit)
                return fail(e, ST_RANGE, "inflates to more than %zu bytes: decompress it first",
                            inflate_limit);
            enum status st = grow(out, at_most(out->cap * 2, inflate_limit), e);
            if (st) return st;
        }
        size_t give = at_most(in.size - *pos, FEED_BYTES);
        size_t room = at_most(out->cap - out->size, FEED_BYTES);
        z->next_in = in.data + *pos;
        z->avail_in = (uInt)give;
        z->next_out = out->data + out->size;
        z->avail_out = (uInt)room;
        int rc = inflate(z, Z_NO_FLUSH);
        *pos += give - z->avail_in;
        out->size += room - z->avail_out;
        if (rc == Z_STREAM_END) return ST_OK;
        if (rc == Z_MEM_ERROR) return fail(e, ST_NOMEM, "no memory to inflate");
        if (rc != Z_OK && rc != Z_BUF_ERROR)
            return fail(e, ST_FORMAT, "gzip data is damaged near byte %zu: %s", *pos,
                        z->msg ? z->msg : "not a deflate stream");
        if (*pos == in.size && z->avail_out > 0)
            return fail(e, ST_FORMAT, "gzip data ends early, at byte %zu", *pos);
    }
}

static bool is_gzip(struct span s)
{
    return s.size >= 2 && s.data[0] == 0x1f && s.data[1] == 0x8b;
}

static enum status inflate_all(struct span in, struct growing *out, struct err *e)
{
    z_stream z = {0};
    if (inflateInit2(&z, 15 + 16) != Z_OK) return fail(e, ST_NOMEM, "no memory to inflate");
    enum status st = grow(out, promised_size(in), e);
    size_t pos = 0;
    while (!st) {
        st = inflate_member(&z, in, &pos, out, e);
        if (st || pos == in.size) break;
        struct span rest = {in.data + pos, in.size - pos};
        if (!is_gzip(rest))
            st = fail(e, ST_FORMAT, "%zu bytes that are not gzip data at byte %zu", rest.size, pos);
        else if (inflateReset(&z) != Z_OK)
            st = fail(e, ST_NOMEM, "no memory to inflate");
    }
    inflateEnd(&z);
    return st;
}

/* ---- reading ---- */

static enum status map_fd(struct file *f, int fd, struct err *e)
{
    struct stat s;
    if (fstat(fd, &s) != 0) return fail_errno(e, errno);
    if (S_ISDIR(s.st_mode)) return fail(e, ST_IO, "is a directory");
    if (!S_ISREG(s.st_mode)) return fail(e, ST_IO, "is not a regular file");
    if (s.st_size == 0) return fail(e, ST_FORMAT, "is empty");
    if ((uintmax_t)s.st_size > SIZE_MAX) return fail(e, ST_RANGE, "is too large to map");
    void *map = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) return fail_errno(e, errno);
    f->map = map;
    f->map_size = (size_t)s.st_size;
    f->bytes = (struct span){map, f->map_size};
    return ST_OK;
}

static enum status inflate_file(struct file *f, struct err *e)
{
    struct growing out = {0};
    enum status st = inflate_all(f->bytes, &out, e);
    if (!st && out.size == 0) st = fail(e, ST_FORMAT, "is empty when decompressed");
    if (st) {
        free(out.data);
        return st;
    }
    munmap(f->map, f->map_size);
    *f = (struct file){.bytes = {out.data, out.size}, .heap = out.data};
    return ST_OK;
}

const char *file_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

enum status file_open(struct file *out, const char *path, struct err *e)
{
    *out = (struct file){0};
    struct err local = {0};
    enum status st = ST_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block here */
    if (fd < 0) st = fail_errno(&local, errno);
    if (!st) st = map_fd(out, fd, &local);
    if (fd >= 0) close(fd);
    if (!st && is_gzip(out->bytes)) st = inflate_file(out, &local);
    if (st) {
        file_close(out);
        fail(e, st, "%s", local.text);
        fail_prefix(e, "%s", path);
    }
    return st;
}

void file_close(struct file *f)
{
    if (f->map) munmap(f->map, f->map_size);
    free(f->heap);
    *f = (struct file){0};
}

/* ---- writing ---- */

struct file_writer {
    FILE *stream;
    char *path; /* where it ends up, symbolic links resolved */
    char *temp; /* NULL when path is a device or a pipe and is written directly */
};

static void writer_free(struct file_writer *w)
{
    free(w->path);
    free(w->temp);
    free(w);
}

/* The mode is left to the umask, which mkstemp would not do; O_EXCL keeps writers apart. */
static int create_temp(struct file_writer *w)
{
    size_t cap = strlen(w->path) + 64;
    w->temp = malloc(cap);
    if (!w->temp) return -1;
    for (unsigned n = 0; n < 10000; n++) {
        snprintf(w->temp, cap, "%s.tmp-%ld-%u", w->path, (long)getpid(), n);
        int fd = open(w->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) return fd;
    }
    return -1;
}

static enum status writer_start(struct file_writer *w, const char *path, struct err *e)
{
    struct stat s;
    bool exists = stat(path, &s) == 0;
    if (exists && S_ISDIR(s.st_mode)) return fail(e, ST_IO, "is a directory");
    bool direct = exists && !S_ISREG(s.st_mode);
    w->path = exists && !direct ? realpath(path, NULL) : strdup(path);
    if (!w->path) return fail_errno(e, errno);

    int fd = direct ? open(path, O_WRONLY | O_CLOEXEC) : create_temp(w);
    if (fd < 0) {
        int error = errno;
        free(w->temp);
        w->temp = NULL;
        return fail(e, ST_IO, "cannot be written: %s", strerror(error));
    }
    w->stream = fdopen(fd, "wb");
    if (w->stream) return ST_OK;
    enum status st = fail_errno(e, errno);
    close(fd);
    if (w->temp) unlink(w->temp);
    return st;
}

enum status file_create(struct file_writer **out, const char *path, struct err *e)
{
    *out = NULL;
    struct file_writer *w = calloc(1, sizeof *w);
    if (!w) return fail(e, ST_NOMEM, "%s: no memory", path);
    struct err local = {0};
    enum status st = writer_start(w, path, &local);
    if (st) {
        writer_free(w);
        return fail(e, st, "%s: %s", path, local.text);
    }
    *out = w;
    return ST_OK;
}

enum status file_write(struct file_writer *w, const void *data, size_t n, struct err *e)
{
    if (n == 0 || fwrite(data, 1, n, w->stream) == n) return ST_OK;
    return fail(e, ST_IO, "%s: cannot be written: %s", w->path, strerror(errno));
}

enum status file_commit(struct file_writer *w, struct err *e)
{
    enum status st = ST_OK;
    bool broken = ferror(w->stream) != 0;
    errno = 0;
    if (fclose(w->stream) != 0 || broken)
        st = fail(e, ST_IO, "%s: cannot be written: %s", w->path,
                  errno ? strerror(errno) : "an earlier write failed");
    if (!st && w->temp && rename(w->temp, w->path) != 0)
        st = fail(e, ST_IO, "%s: cannot be put in place: %s", w->path, strerror(errno));
    if (st && w->temp) unlink(w->temp);
    writer_free(w);
    return st;
}

void file_abort(struct file_writer *w)
{
    if (!w) return;
    fclose(w->stream);
    if (w->temp) unlink(w->temp);
    writer_free(w);
}
