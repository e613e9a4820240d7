/* Reading the rows of suites/mutants/; see mutant.h and suites/mutants/README.md. */
#include "mutants/mutant.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How many classes each group of faults has. */
static const struct group {
    char letter;
    int n;
} groups[] = {{'A', 22}, {'B', 18}, {'C', 15}, {'D', 18}, {'E', 8}};
enum { N_GROUPS = sizeof groups / sizeof *groups };

/* A file being read, line by line. */
struct reader {
    struct mutant_list *list;
    const char *name;
    const char *at, *end;
    const char *line; /* without its end */
    size_t len;
    int number;
};

static bool next_line(struct reader *r)
{
    if (r->at >= r->end) return false;
    const char *stop = memchr(r->at, '\n', (size_t)(r->end - r->at));
    r->line = r->at;
    r->len = (size_t)((stop ? stop : r->end) - r->at);
    r->at = stop ? stop + 1 : r->end;
    r->number++;
    return true;
}

static enum status wrong(const struct reader *r, const char *what, struct err *e)
{
    return fail(e, ST_FORMAT, "%s:%d: %s: %.*s", r->name, r->number, what,
                (int)(r->len < 60 ? r->len : 60), r->line);
}

static bool is_class(const char *s, size_t n)
{
    for (size_t g = 0; g < N_GROUPS; g++) {
        if (n < 2 || n > 3 || s[0] != groups[g].letter) continue;
        int k = 0;
        for (size_t i = 1; i < n; i++) {
            if (s[i] < '0' || s[i] > '9' || (i == 1 && s[i] == '0')) return false;
            k = 10 * k + (s[i] - '0');
        }
        return k >= 1 && k <= groups[g].n;
    }
    return false;
}

/* The next word of the line from *pos on, arena memory; "" at the end. */
static const char *word(struct reader *r, size_t *pos)
{
    while (*pos < r->len && r->line[*pos] == ' ') ++*pos;
    size_t start = *pos;
    while (*pos < r->len && r->line[*pos] != ' ') ++*pos;
    return arena_strdup(&r->list->arena, r->line + start, *pos - start);
}

static const char *rest(struct reader *r, size_t pos)
{
    while (pos < r->len && r->line[pos] == ' ') pos++;
    return arena_strdup(&r->list->arena, r->line + pos, r->len - pos);
}

/* Grows an array by one zeroed row, which it does not count yet. NULL: there is no memory, and the
 * array is as it was. */
static void *grow(void *rows, size_t n, size_t *cap, size_t size)
{
    if (n == *cap) {
        const size_t more = *cap ? 2 * *cap : 64;
        rows = realloc(rows, more * size);
        if (!rows) return NULL;
        *cap = more;
    }
    memset((char *)rows + n * size, 0, size);
    return rows;
}

/* text, a line break, then what the line says behind its sign. NULL: there is no memory. */
static const char *append(struct reader *r, const char *text)
{
    size_t skip = r->len > 1 ? 2 : 1, have = text ? strlen(text) + 1 : 0;
    char *both = arena_alloc(&r->list->arena, have + r->len - skip + 1, 1);
    if (!both) return NULL;
    if (have) {
        memcpy(both, text, have - 1);
        both[have - 1] = '\n';
    }
    memcpy(both + have, r->line + skip, r->len - skip);
    return both;
}

/* "A3 name": the head of a row. */
static enum status read_head(struct reader *r, struct err *e)
{
    struct mutant_list *l = r->list;
    char text[512];
    size_t pos = 0;
    const char *fault = word(r, &pos), *name = word(r, &pos);
    if (!is_class(fault, strlen(fault))) return wrong(r, "no class of faults", e);
    if (!*name || *rest(r, pos)) return wrong(r, "a class and one name are expected", e);
    struct mutant *rows = grow(l->rows, l->n, &l->cap, sizeof *l->rows);
    if (!rows) return fail(e, ST_NOMEM, "no memory for %zu mutants", l->n);
    l->rows = rows;
    struct mutant *m = &rows[l->n++];
    snprintf(text, sizeof text, "%s.%s", fault, name);
    m->name = arena_strdup(&l->arena, text, strlen(text));
    snprintf(text, sizeof text, "%.300s:%d", r->name, r->number);
    m->where = arena_strdup(&l->arena, text, strlen(text));
    m->fault = fault;
    return ST_OK;
}

/* "in FILE", "build FILE...", "kills FILTER SUBJECT [VARIANT]", behind white space. */
static enum status read_field(struct reader *r, struct mutant *m, struct err *e)
{
    size_t pos = 0;
    const char *key = word(r, &pos);
    if (strcmp(key, "in") == 0) {
        m->file = rest(r, pos);
    } else if (strcmp(key, "build") == 0) {
        m->units = rest(r, pos);
    } else if (strcmp(key, "kills") == 0) {
        m->filter = word(r, &pos);
        m->subject = word(r, &pos);
        m->variant = rest(r, pos);
    } else {
        return wrong(r, "not one of in, build, kills", e);
    }
    return ST_OK;
}

/* Decoders are compiled into one table on the CPU; others are asked to say what includes them. */
static const char *default_units(const struct mutant *m)
{
    bool decoder = strncmp(m->file, "engine/decode/", 14) == 0;
    return decoder && strcmp(m->subject, "cpu") == 0 ? "engine/cpu/types.c" : m->file;
}

static enum status finish_row(struct reader *r, struct err *e)
{
    struct mutant_list *l = r->list;
    if (l->n == 0) return ST_OK;
    struct mutant *m = &l->rows[l->n - 1];
    if (!m->file || !m->filter || !*m->subject || !m->from || !m->to)
        return fail(e, ST_FORMAT, "%s: %s lacks a part: in, kills, - or +", m->where, m->name);
    if (!m->units) m->units = default_units(m);
    return ST_OK;
}

static enum status read_mutants(struct reader *r, struct err *e)
{
    enum status st = ST_OK;
    while (st == ST_OK && next_line(r)) {
        struct mutant *m = r->list->n ? &r->list->rows[r->list->n - 1] : NULL;
        if (r->len == 0 || r->line[0] == '#') continue;
        bool part = r->line[0] == ' ' || r->line[0] == '-' || r->line[0] == '+';
        if (!part) {
            st = finish_row(r, e);
            if (st == ST_OK) st = read_head(r, e);
        } else if (!m) {
            st = wrong(r, "before any row", e);
        } else if (r->line[0] == ' ') {
            st = read_field(r, m, e);
        } else if (r->line[0] == '-') {
            m->from = append(r, m->from);
            if (!m->from) st = wrong(r, "no memory for it", e);
        } else {
            m->to = append(r, m->to);
            if (!m->to) st = wrong(r, "no memory for it", e);
        }
    }
    return st == ST_OK ? finish_row(r, e) : st;
}

/* "B8 reason", continued on lines that begin with a space. */
static enum status read_omitted(struct reader *r, struct err *e)
{
    struct mutant_list *l = r->list;
    while (next_line(r)) {
        if (r->len == 0 || r->line[0] == '#') continue;
        size_t pos = 0;
        if (r->line[0] == ' ') {
            if (l->n_omitted == 0) return wrong(r, "before any class", e);
            continue;
        }
        const char *fault = word(r, &pos), *reason = rest(r, pos);
        if (!is_class(fault, strlen(fault))) return wrong(r, "no class of faults", e);
        if (!*reason) return wrong(r, "no reason", e);
        struct omission *rows = grow(l->omitted, l->n_omitted, &l->cap_omitted, sizeof *l->omitted);
        if (!rows) return fail(e, ST_NOMEM, "no memory for %zu omissions", l->n_omitted);
        l->omitted = rows;
        rows[l->n_omitted++] = (struct omission){fault, reason};
    }
    return ST_OK;
}

static int is_text(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 4 && strcmp(d->d_name + n - 4, ".txt") == 0;
}

enum status mutants_read(struct mutant_list *out, const char *dir, struct err *e)
{
    struct dirent **names;
    *out = (struct mutant_list){0};
    int n = scandir(dir, &names, is_text, alphasort);
    if (n < 0) return fail(e, ST_IO, "%s: no directory of mutants", dir);
    enum status st = ST_OK;
    for (int i = 0; i < n; i++) {
        char path[4096];
        struct file f;
        snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
        if (st == ST_OK && (st = file_open(&f, path, e)) == ST_OK) {
            const char *text = (const char *)f.bytes.data;
            struct reader r = {.list = out, .name = names[i]->d_name, .at = text};
            r.end = text + f.bytes.size;
            bool omitted = strcmp(names[i]->d_name, "omitted.txt") == 0;
            st = omitted ? read_omitted(&r, e) : read_mutants(&r, e);
            file_close(&f);
        }
        free(names[i]);
    }
    free(names);
    if (st != ST_OK) mutants_free(out);
    return st;
}

void mutants_free(struct mutant_list *l)
{
    free(l->rows);
    free(l->omitted);
    arena_free(&l->arena);
    *l = (struct mutant_list){0};
}

static enum status check_class(const struct mutant_list *l, const char *fault, struct err *e)
{
    size_t rows = 0, omitted = 0;
    for (size_t i = 0; i < l->n; i++) rows += strcmp(l->rows[i].fault, fault) == 0;
    for (size_t i = 0; i < l->n_omitted; i++) omitted += strcmp(l->omitted[i].fault, fault) == 0;
    if (rows == 0 && omitted == 0)
        return fail(e, ST_FORMAT, "class %s has neither a mutant nor a line in omitted.txt", fault);
    if (rows > 0 && omitted > 0)
        return fail(e, ST_FORMAT, "class %s has mutants and a line in omitted.txt", fault);
    if (omitted > 1) return fail(e, ST_FORMAT, "class %s is omitted twice", fault);
    return ST_OK;
}

enum status mutants_check(const struct mutant_list *l, struct err *e)
{
    for (size_t g = 0; g < N_GROUPS; g++) {
        for (int k = 1; k <= groups[g].n; k++) {
            char fault[16];
            snprintf(fault, sizeof fault, "%c%d", groups[g].letter, k);
            enum status st = check_class(l, fault, e);
            if (st != ST_OK) return st;
        }
    }
    for (size_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(l->rows[i].name, l->rows[k].name) == 0)
                return fail(e, ST_FORMAT, "%s and %s: both are named %s", l->rows[k].where,
                            l->rows[i].where, l->rows[i].name);
    return ST_OK;
}
