/* What every part of the engine and of the tools stands on: status codes, the error that carries
 * where and which number, spans, checked sizes, arenas, mapped files, a thread pool. No globals. */
#ifndef BASE_H
#define BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum status {
    ST_OK = 0,
    ST_USAGE,       /* the caller asked for something that makes no sense */
    ST_IO,          /* the operating system said no: errno's text is in the message */
    ST_FORMAT,      /* bytes that are not what they should be */
    ST_UNSUPPORTED, /* well-formed, but not something this program computes with */
    ST_RANGE,       /* a token, position or size beyond its limit */
    ST_NOMEM,
    ST_NO_DEVICE, /* backend, driver or device absent: "skip", not "fail" */
    ST_DEVICE,    /* the device failed while computing */
    ST_CANCELLED, /* stopped at the user's request */
};

/* The first failure of a call chain. Owned by the caller, initialised to {0}. */
struct err {
    enum status st;
    char text[512]; /* one line, no newline */
};

/* Records a failure unless one is recorded already; returns st. e may be NULL. */
enum status fail(struct err *e, enum status st, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " in front of a recorded failure (the file's name, say); returns e->st. */
enum status fail_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct span {
    const uint8_t *data;
    size_t size;
};

/* *out = a * b, or false if it does not fit. */
bool mul_size(size_t a, size_t b, size_t *out);
bool add_size(size_t a, size_t b, size_t *out);

/* Zeroed memory of count * size bytes, NULL if count * size overflows or memory is
 * exhausted. */
void *alloc_array(size_t count, size_t size);

/* Memory that is released all at once. */
struct arena {
    struct arena_chunk *chunks;
};
/* Zeroed, aligned to 64; NULL when out of memory. */
void *arena_alloc(struct arena *a, size_t count, size_t size);
char *arena_strdup(struct arena *a, const char *s, size_t len);
void arena_free(struct arena *a);

/* A whole file, readable as bytes. Plain files are mapped read-only; files that begin with the
 * gzip magic are inflated into memory. */
struct file {
    struct span bytes;
    void *map; /* NULL if inflated */
    size_t map_size;
    uint8_t *heap; /* NULL if mapped */
};
enum status file_open(struct file *out, const char *path, struct err *e);
/* The name of a file without its directories; a part of path. */
const char *file_base(const char *path);
void file_close(struct file *f);

/* Writing a file that appears under its name only when complete: bytes go to a temporary file in
 * the same directory, file_commit renames it, file_abort removes it. Both release it. */
struct file_writer;
enum status file_create(struct file_writer **out, const char *path, struct err *e);
enum status file_write(struct file_writer *w, const void *data, size_t n, struct err *e);
enum status file_commit(struct file_writer *w, struct err *e);
void file_abort(struct file_writer *w);

/* Threads that split loops. n_threads <= 0: one per available core. */
struct pool;
enum status pool_open(struct pool **out, int n_threads, struct err *e);
void pool_close(struct pool *p);
int pool_threads(const struct pool *p);
/* The number of cores that taskset and containers leave to this process. */
int pool_cores(void);
/* Calls fn(ctx, begin, end, thread) on disjoint ranges that cover [0, n); ranges begin at
 * multiples of grain. Returns when all are done. The ranges depend on n, grain and the number of
 * threads only, who runs which on chance; results must depend on neither. */
void pool_run(struct pool *p, size_t n, size_t grain,
              void (*fn)(void *ctx, size_t begin, size_t end, int thread), void *ctx);

/* Seconds from an arbitrary start, monotonic. */
double now_seconds(void);

#ifdef __cplusplus
}
#endif

#endif
