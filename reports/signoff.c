/* Making a release directory; see signoff.h. */
#include "reports/signoff.h"
#include "reports/buffer.h"
#include "reports/formats.h"
#include "reports/hash.h"
#include "reports/report_json.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_NAMES = 4096 };

struct release {
    const char *dir;
    char *names[MAX_NAMES]; /* of its files, relative */
    size_t n;
};

static bool is_empty(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    bool empty = true;
    while (d && (entry = readdir(d)))
        empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    if (d) closedir(d);
    return empty;
}

/* The full path of a new file of the release. */
static enum status new_file(struct release *r, const char *name, char *path, size_t cap,
                            struct err *e)
{
    int n = snprintf(path, cap, "%s/%s", r->dir, name);
    if (n < 0 || (size_t)n >= cap) return fail(e, ST_IO, "%s: the path is too long", name);
    if (r->n == MAX_NAMES) return fail(e, ST_RANGE, "more than %d files", MAX_NAMES);
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->names[i], name) == 0)
            return fail(e, ST_USAGE, "two files would be called %s", name);
    if (!(r->names[r->n] = strdup(name))) return fail(e, ST_NOMEM, "no memory for names");
    r->n++;
    return ST_OK;
}

static enum status write_text(struct release *r, const char *name, struct buffer *text,
                              struct err *e)
{
    char path[4400];
    enum status st = new_file(r, name, path, sizeof path, e);
    if (st == ST_OK) st = buffer_save(text, path, e);
    buffer_free(text);
    return st;
}

static enum status write_json(struct release *r, const char *name, const json_t *j, struct err *e)
{
    struct buffer text = {0};
    buffer_json(&text, j, JSON_INDENT(1));
    buffer_put(&text, "\n");
    return write_text(r, name, &text, e);
}

/* The file's bytes, inflated if it is compressed. */
static enum status copy(struct release *r, const char *name, const char *from, struct err *e)
{
    char path[4400];
    struct file f;
    struct file_writer *w = NULL;
    enum status st = new_file(r, name, path, sizeof path, e);
    if (st != ST_OK || (st = file_open(&f, from, e)) != ST_OK) return st;
    st = file_create(&w, path, e);
    if (st == ST_OK) st = file_write(w, f.bytes.data, f.bytes.size, e);
    if (st == ST_OK)
        st = file_commit(w, e);
    else
        file_abort(w);
    file_close(&f);
    return st;
}

/* A log as it is, compressed or empty. */
static enum status copy_log(struct release *r, const char *name, const char *from, struct err *e)
{
    struct buffer text = {0};
    char part[4096];
    size_t n;
    FILE *f = fopen(from, "rb");
    if (!f) return fail(e, ST_IO, "%s: %s", from, strerror(errno));
    while ((n = fread(part, 1, sizeof part, f)) > 0) buffer_add(&text, part, n);
    bool ok = !ferror(f);
    fclose(f);
    if (ok) return write_text(r, name, &text, e);
    buffer_free(&text);
    return fail(e, ST_IO, "%s: could not be read: %s", from, strerror(errno));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum status write_sums(struct release *r, struct err *e)
{
    struct buffer text = {0};
    enum status st = ST_OK;
    qsort(r->names, r->n, sizeof *r->names, by_name);
    for (size_t i = 0; i < r->n && st == ST_OK; i++) {
        char path[4400], hex[HASH_TEXT];
        snprintf(path, sizeof path, "%s/%s", r->dir, r->names[i]);
        st = hash_file(path, hex, e);
        if (st == ST_OK) buffer_print(&text, "%s  %s\n", hex, r->names[i]);
    }
    if (st == ST_OK) return write_text(r, "SHA256SUMS", &text, e);
    buffer_free(&text);
    return st;
}

static enum status write_logs(struct release *r, const struct signoff *s, struct err *e)
{
    char path[4400], name[300];
    if (!s->n_logs) return ST_OK;
    snprintf(path, sizeof path, "%s/logs", r->dir);
    if (mkdir(path, 0777) != 0) return fail(e, ST_IO, "%s: %s", path, strerror(errno));
    for (size_t i = 0; i < s->n_logs; i++) {
        snprintf(name, sizeof name, "logs/%.255s", file_base(s->logs[i]));
        if (copy_log(r, name, s->logs[i], e) != ST_OK) return e->st;
    }
    return ST_OK;
}

static enum status write_all(struct release *r, const struct signoff *s, struct err *e)
{
    struct buffer text = {0};
    const json_t *env = json_object_get(s->report, "environment");
    enum status st = copy(r, "report.json", s->report_path, e);
    if (st == ST_OK) st = copy(r, "policy.json", s->policy_path, e);
    if (st == ST_OK) st = write_json(r, "gate.json", s->gate, e);
    if (st == ST_OK) st = write_json(r, "environment.json", env, e);
    if (st == ST_OK) st = format_html(&text, s->report, e);
    if (st == ST_OK) st = write_text(r, "report.html", &text, e);
    if (st == ST_OK) st = format_junit(&text, s->report, e);
    if (st == ST_OK) st = write_text(r, "junit.xml", &text, e);
    if (st == ST_OK) {
        signoff_statement(&text, s);
        st = write_text(r, "STATEMENT.md", &text, e);
    }
    if (st == ST_OK) st = write_logs(r, s, e);
    buffer_free(&text);
    return st == ST_OK ? write_sums(r, e) : st;
}

/* Takes back what was written: half a release must not be taken for one. */
static void clear(struct release *r, bool made)
{
    char path[4400];
    for (size_t i = 0; i < r->n; i++) {
        snprintf(path, sizeof path, "%s/%s", r->dir, r->names[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/logs", r->dir);
    rmdir(path);
    if (made) rmdir(r->dir);
}

enum status signoff_make(const char *dir, const struct signoff *s, struct err *e)
{
    struct release r = {.dir = dir};
    bool made = mkdir(dir, 0777) == 0;
    if (!made && errno != EEXIST)
        return fail(e, ST_IO, "%s: cannot be made: %s", dir, strerror(errno));
    if (!is_empty(dir)) return fail(e, ST_USAGE, "%s: is not empty", dir);
    enum status st = write_all(&r, s, e);
    if (st != ST_OK) clear(&r, made);
    for (size_t i = 0; i < r.n; i++) free(r.names[i]);
    return st;
}
