/* Recordings of a pass; see locate_record.h. */
#include "trace/record.h"
#include "reference/ref.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct record_map {
    struct record_map *before;
    void *at;
    size_t bytes;
};

enum status record_open(struct recording *r, uint32_t n_layers, uint32_t n_heads, size_t n_tokens,
                        struct err *e)
{
    const char *dir = getenv("TMPDIR");
    char path[4096];
    *r = (struct recording){
        .n_layers = n_layers, .n_heads = n_heads, .n_tokens = n_tokens, .fd = -1};
    snprintf(path, sizeof path, "%s/assay-XXXXXX", dir && *dir ? dir : "/tmp");
    r->fd = mkstemp(path);
    if (r->fd < 0)
        return fail(e, ST_IO, "%s: cannot make a temporary file: %s", path, strerror(errno));
    unlink(path);
    return ST_OK;
}

void record_close(struct recording *r)
{
    while (r->maps) {
        struct record_map *m = r->maps;
        r->maps = m->before;
        munmap(m->at, m->bytes);
        free(m);
    }
    for (size_t i = 0; i < r->n; i++) free(r->sites[i].filled);
    free(r->sites);
    if (r->n_tokens && r->fd >= 0) close(r->fd);
    *r = (struct recording){.fd = -1};
}

/* Room for count values of size bytes in the file. */
static void *record_room(struct recording *r, size_t count, size_t size)
{
    size_t bytes, page = (size_t)sysconf(_SC_PAGESIZE);
    struct record_map *m = calloc(1, sizeof *m);
    if (!m || !mul_size(count ? count : 1, size, &bytes) || bytes > SIZE_MAX - page) {
        free(m);
        fail(&r->err, ST_NOMEM, "no memory to record %zu values", count);
        return NULL;
    }
    bytes = (bytes + page - 1) / page * page;
    m->bytes = bytes;
    m->at = MAP_FAILED;
    if (ftruncate(r->fd, (off_t)(r->end + bytes)) == 0)
        m->at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, (off_t)r->end);
    if (m->at == MAP_FAILED) {
        free(m);
        fail(&r->err, ST_IO, "no room to record %zu values: %s", count, strerror(errno));
        return NULL;
    }
    r->end += bytes;
    m->before = r->maps;
    r->maps = m;
    return m->at;
}

struct record_site *record_find(const struct recording *r, enum site site, uint32_t layer)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->sites[i].site == site && r->sites[i].layer == layer) return &r->sites[i];
    return NULL;
}

static struct record_site *new_site(struct recording *r, enum site site, uint32_t layer,
                                    size_t rows, size_t cols)
{
    if (r->n == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 64;
        struct record_site *grown = realloc(r->sites, cap * sizeof *grown);
        if (!grown) {
            fail(&r->err, ST_NOMEM, "no memory to record a site");
            return NULL;
        }
        r->sites = grown;
        r->cap = cap;
    }
    struct record_site *s = &r->sites[r->n];
    *s = (struct record_site){.site = site, .layer = layer, .rows = rows, .cols = cols};
    return s;
}

struct record_site *record_add(struct recording *r, enum site site, uint32_t layer, size_t rows,
                               size_t cols, size_t first_row)
{
    size_t n;
    struct record_site *s = new_site(r, site, layer, rows, cols);
    if (!s) return NULL;
    s->first_row = first_row;
    if (!mul_size(rows, cols, &n)) {
        fail(&r->err, ST_NOMEM, "no memory to record %zu x %zu values", rows, cols);
        return NULL;
    }
    s->got = record_room(r, n, sizeof *s->got);
    if (!s->got) return NULL;
    s->filled = calloc(rows + 1, sizeof *s->filled);
    if (!s->filled) {
        fail(&r->err, ST_NOMEM, "no memory to record a site");
        return NULL;
    }
    for (size_t i = 0; i < n; i++) s->got[i] = NAN;
    r->n++;
    return s;
}

void record_reference(struct recording *r, const struct ref_values *v)
{
    const size_t n = v->rows * v->cols;
    struct record_site *s = new_site(r, v->site, v->layer, v->rows, v->cols);
    double *room = s ? record_room(r, (v->local ? 3 : 1) * n, sizeof *room) : NULL;
    if (!room) return;
    memcpy(room, v->value, n * sizeof *room);
    s->value = room;
    if (v->local) {
        memcpy(room + n, v->local, n * sizeof *room);
        memcpy(room + 2 * n, v->dev, n * sizeof *room);
        s->local = room + n;
        s->dev = room + 2 * n;
    }
    r->n++;
}

static void fill_scores(const struct recording *r, struct record_site *s, const float *row,
                        size_t n_cells, size_t at)
{
    const float hidden = s->site == SITE_SCORES ? -INFINITY : 0.0f;
    float *to = s->got + at * s->cols;
    for (size_t h = 0; h < r->n_heads; h++)
        for (size_t c = 0; c < r->n_tokens; c++)
            to[h * r->n_tokens + c] = c < n_cells ? row[h * n_cells + c] : hidden;
}

void record_subject(struct recording *r, enum site site, uint32_t layer, const float *values,
                    size_t rows, size_t cols, size_t first_row)
{
    const bool scores = site_table[site].width == WIDTH_SCORES;
    struct record_site *s = record_find(r, site, layer);
    if (r->err.st != ST_OK) return;
    if (!s)
        s = record_add(r, site, layer, r->n_tokens, scores ? r->n_heads * r->n_tokens : cols, 0);
    if (!s) return;
    if (first_row + rows > s->rows ||
        (scores ? cols / r->n_heads > r->n_tokens : cols != s->cols)) {
        fail(&r->err, ST_DEVICE, "site %s of layer %u: %zu x %zu values from position %zu on",
             site_table[site].name, layer, rows, cols, first_row);
        return;
    }
    for (size_t i = 0; i < rows; i++) {
        if (scores)
            fill_scores(r, s, values + i * cols, cols / r->n_heads, first_row + i);
        else
            memcpy(s->got + (first_row + i) * cols, values + i * cols, cols * sizeof *values);
        s->filled[first_row + i] = true;
    }
}

bool record_complete(const struct record_site *s)
{
    for (size_t i = 0; s->filled && i < s->rows; i++)
        if (!s->filled[i]) return false;
    return true;
}
