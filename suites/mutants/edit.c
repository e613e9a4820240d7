/* The substitution that makes a mutant; see mutant.h. */
#include "mutants/mutant.h"

#include <stdlib.h>
#include <string.h>

/* White space, and the backslash that continues a macro: neither is compared, so that formatting
 * a source anew does not lose the anchors in it. */
static bool is_blank(const char *p)
{
    return *p == ' ' || *p == '\n' || *p == '\t' || (p[0] == '\\' && p[1] == '\n');
}

static const char *skip_blank(const char *p)
{
    while (*p && is_blank(p)) p++;
    return p;
}

/* End of the match of anchor at text, or NULL. */
static const char *match(const char *text, const char *anchor)
{
    const char *end = text;
    for (anchor = skip_blank(anchor); *anchor; anchor = skip_blank(anchor + 1)) {
        text = skip_blank(text);
        if (*text != *anchor) return NULL;
        end = ++text;
    }
    return end;
}

static bool same_text(const char *a, const char *b)
{
    const char *end = match(a, b);
    return end && !*skip_blank(end);
}

/* In a macro that goes on, the new text has to stay on its line. */
static void join_lines(char *text, size_t n, const char *behind)
{
    const char *stop = strchr(behind, '\n');
    if (!stop || stop == behind || stop[-1] != '\\') return;
    for (size_t i = 0; i < n; i++)
        if (text[i] == '\n') text[i] = ' ';
}

enum status mutant_edit(char **out, const char *text, const struct mutant *m, struct err *e)
{
    const char *at = NULL, *end = NULL;
    size_t found = 0;
    if (!*skip_blank(m->from) || same_text(m->from, m->to))
        return fail(e, ST_FORMAT, "%s: the row changes nothing", m->where);
    for (const char *p = text; *p; p++) {
        const char *stop = is_blank(p) ? NULL : match(p, m->from);
        if (!stop) continue;
        at = p;
        end = stop;
        found++;
    }
    if (found != 1)
        return fail(e, ST_FORMAT, "%s: the anchor is %zu times in %s, not once", m->where, found,
                    m->file);
    size_t before = (size_t)(at - text), put = strlen(m->to), after = strlen(end);
    char *s = malloc(before + put + after + 1);
    if (!s) return fail(e, ST_NOMEM, "%s: no memory", m->file);
    memcpy(s, text, before);
    memcpy(s + before, m->to, put);
    memcpy(s + before + put, end, after + 1);
    join_lines(s + before, put, end);
    *out = s;
    return ST_OK;
}
