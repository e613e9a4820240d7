/* Matrices of architectures and types; see qualify_matrix.h. */
#include "command/qualify_matrix.h"
#include "base/terminal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ARCHS = 40, CELL = 8, FIRST = 12, TEXT = 8 };

struct cell {
    char text[TEXT];
    const char *paint; /* NULL: nothing ran */
};

struct qualify_matrix {
    char archs[MAX_ARCHS][32];
    char subjects[QUALIFY_SUBJECTS][64];
    char (*types)[32];  /* (n_types) */
    struct cell *cells; /* (QUALIFY_SUBJECTS, MAX_ARCHS, n_types) */
    size_t n_archs, n_subjects, n_types;
};

struct qualify_matrix *qualify_matrix_new(size_t n_types)
{
    struct qualify_matrix *m = alloc_array(1, sizeof *m);
    if (!m) return NULL;
    m->n_types = n_types;
    m->types = alloc_array(n_types, sizeof *m->types);
    m->cells = alloc_array(QUALIFY_SUBJECTS * MAX_ARCHS * n_types, sizeof *m->cells);
    if (m->types && m->cells) return m;
    qualify_matrix_free(m);
    return NULL;
}

void qualify_matrix_free(struct qualify_matrix *m)
{
    if (!m) return;
    free(m->types);
    free(m->cells);
    free(m);
}

static struct cell *cell_at(const struct qualify_matrix *m, size_t subject, size_t arch,
                            size_t type)
{
    return &m->cells[(subject * MAX_ARCHS + arch) * m->n_types + type];
}

/* The row of an architecture: the last one, or a new one. */
static bool enter(struct qualify_matrix *m, const char *arch, size_t type, const char *type_name)
{
    if (type >= m->n_types) return false;
    snprintf(m->types[type], sizeof *m->types, "%s", type_name);
    if (m->n_archs && strcmp(m->archs[m->n_archs - 1], arch) == 0) return true;
    if (m->n_archs == MAX_ARCHS) return false;
    snprintf(m->archs[m->n_archs++], sizeof *m->archs, "%s", arch);
    return true;
}

static struct cell cell_of(const struct qualify_subject *s)
{
    struct cell c = {"skip", "dim"};
    if (s->verdict == VERDICT_NOT_RUN && s->status == CASE_SKIP) return c;
    if (s->status == CASE_FAIL) {
        c = (struct cell){"FAIL", "red"};
    } else if (s->verdict == VERDICT_TIE) {
        c = (struct cell){"tie", "yellow"};
    } else {
        c.paint = s->status == CASE_MARGINAL ? "yellow" : "green";
        snprintf(c.text, sizeof c.text, "%.0f%%", ceil(100 * fmin(s->judged.r.used, 99)));
    }
    return c;
}

void qualify_matrix_add(struct qualify_matrix *m, const char *arch, size_t type,
                        const struct qualify_row *row)
{
    if (!enter(m, arch, type, row->type)) return;
    m->n_subjects = row->n_subjects;
    for (size_t i = 0; i < row->n_subjects; i++) {
        snprintf(m->subjects[i], sizeof *m->subjects, "%.63s", row->subjects[i].name);
        *cell_at(m, i, m->n_archs - 1, type) = cell_of(&row->subjects[i]);
    }
}

void qualify_matrix_fail(struct qualify_matrix *m, const char *arch, size_t type,
                         const char *type_name)
{
    if (!enter(m, arch, type, type_name)) return;
    for (size_t i = 0; i < QUALIFY_SUBJECTS; i++)
        *cell_at(m, i, m->n_archs - 1, type) = (struct cell){"FAIL", "red"};
}

/* Columns first to end. */
static void print_part(const struct qualify_matrix *m, size_t subject, size_t first, size_t end)
{
    printf("%s%-*s", terminal_color("bold"), FIRST,
           m->n_subjects ? m->subjects[subject] : "no subject");
    for (size_t k = first; k < end; k++) printf("%*s", CELL, m->types[k]);
    printf("%s\n", terminal_color("reset"));
    for (size_t a = 0; a < m->n_archs; a++) {
        printf("%-*s", FIRST, m->archs[a]);
        for (size_t k = first; k < end; k++) {
            const struct cell *c = cell_at(m, subject, a, k);
            const bool there = c->paint != NULL;
            printf("%s%*s%s", terminal_color(there ? c->paint : "dim"), CELL, there ? c->text : "-",
                   terminal_color("reset"));
        }
        printf("\n");
    }
    printf("\n");
}

void qualify_matrix_print(const struct qualify_matrix *m, size_t columns)
{
    size_t fit = columns > FIRST + CELL ? (columns - FIRST) / CELL : 1;
    const size_t n_subjects = m->n_subjects ? m->n_subjects : 1;
    for (size_t s = 0; s < n_subjects; s++)
        for (size_t k = 0; k < m->n_types; k += fit)
            print_part(m, s, k, k + fit < m->n_types ? k + fit : m->n_types);
}
