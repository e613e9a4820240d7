/* The page of one report. */
#include "reports/formats.h"
#include "reports/embedded.h"
#include "reports/matrix.h"
#include "reports/page.h"
#include "reports/report_json.h"

#include <string.h>

/* Passed cases are on the page as sums; of the others so many are named. */
enum { MAX_NAMED = 1000 };

/* Inside of a script element no "<" may stand as such. */
static void add_data(struct buffer *out, const json_t *data)
{
    struct buffer text = {0};
    buffer_json(&text, data, JSON_COMPACT);
    for (size_t i = 0; i < text.n; i++) {
        if (text.data[i] == '<')
            buffer_put(out, "\\u003c");
        else
            buffer_add(out, text.data + i, 1);
    }
    out->failed = out->failed || text.failed;
    buffer_free(&text);
}

static void add_file(struct buffer *out, const char *name)
{
    struct span s = embedded_file(name);
    buffer_add(out, (const char *)s.data, s.size);
}

enum status page_make(struct buffer *out, const char *title, const char *summary,
                      const char *script, const json_t *data, struct err *e)
{
    struct span page = embedded_file("page/page.html");
    const char *p = (const char *)page.data, *end = p + page.size;
    while (p < end) {
        const char *mark = memchr(p, '@', (size_t)(end - p));
        const char *close = mark ? memchr(mark + 1, '@', (size_t)(end - mark - 1)) : NULL;
        buffer_add(out, p, (size_t)((mark ? mark : end) - p));
        if (!close) break;
        size_t n = (size_t)(close - mark - 1);
        if (strncmp(mark + 1, "TITLE", n) == 0)
            buffer_xml(out, title);
        else if (strncmp(mark + 1, "SUMMARY", n) == 0)
            buffer_xml(out, summary);
        else if (strncmp(mark + 1, "STYLE", n) == 0)
            add_file(out, "page/page.css");
        else if (strncmp(mark + 1, "DATA", n) == 0)
            add_data(out, data);
        else if (strncmp(mark + 1, "SCRIPT", n) == 0) {
            add_file(out, "page/chart.js");
            add_file(out, script);
        }
        p = close + 1;
    }
    return out->failed ? fail(e, ST_NOMEM, "no memory for the page") : ST_OK;
}

static json_t *named_cases(const json_t *report)
{
    json_t *named = json_array(), *c;
    size_t i;
    for (int pass = 0; pass < 2; pass++) json_array_foreach(json_object_get(report, "cases"), i, c)
        {
            const char *status = json_text(c, "status");
            bool bad = report_status_is_bad(status);
            bool other = strcmp(status, "marginal") == 0 || strcmp(status, "waived") == 0;
            if ((pass == 0 ? bad : other) && json_array_size(named) < MAX_NAMED)
                json_array_append(named, c);
        }
    return named;
}

enum status format_html(struct buffer *out, const json_t *report, struct err *e)
{
    struct buffer verdict = {0};
    bool good = report_verdict(&verdict, report);
    json_t *data = json_copy((json_t *)report);
    json_object_set_new(data, "cases", named_cases(report));
    json_object_set_new(
        data, "n_cases",
        json_integer((json_int_t)json_array_size(json_object_get(report, "cases"))));
    json_object_set_new(data, "matrix", matrix_make(report));
    json_object_set_new(data, "verdict",
                        json_pack("{s:s, s:b}", "text", verdict.data, "good", good));
    enum status st = page_make(out, "Assay report", verdict.data, "page/page.js", data, e);
    json_decref(data);
    buffer_free(&verdict);
    return st;
}
