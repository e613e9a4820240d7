/* A report as a picture: the verdict, and a table of one model's types in which the KL divergences
 * are drawn. The SVG has no script, for pages that show pictures alone. */
#include "reports/formats.h"
#include "reports/report_json.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    WIDTH = 900,
    MARGIN = 24,
    ROW = 20,
    MAX_ROWS = 100,
    LINE = 72,     /* characters of the verdict in a line */
    MAX_LINES = 4, /* of the verdict */
    NAME = 14,     /* characters of a type's or a subject's name */
    MAX_SUBJECTS = 4,
    SUBJECT_WIDTH = 96,
    PLOT_LEFT = 180
};

static const char style[] =
    "text{font-family:sans-serif;font-size:12px;fill:#1b1f24}.head{font-size:16px;font-weight:700}"
    ".name{font-weight:700}.n{text-anchor:end}.m{text-anchor:middle;font-size:11px}.soft{fill:#"
    "57606a}"
    ".good{fill:#116329}.warn{fill:#6f4400}.bad{fill:#a40e26}.ground{fill:#fff;stroke:#d0d7de}"
    ".rule{stroke:#d0d7de}.mean{fill:#0b5cad}.worst{fill:#b3460b}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#9da7b3}.good{fill:#7ee29a}"
    ".warn{fill:#f2cc60}.bad{fill:#ffa198}.ground{fill:#0f1419;stroke:#3a434d}.rule{stroke:#3a434d}"
    ".mean{fill:#6cb0ff}.worst{fill:#ffa657}}";

struct picture {
    struct buffer *out;
    const char *subjects[MAX_SUBJECTS]; /* columns; the strings are the report's */
    size_t n_subjects;
    double right; /* where the plot ends */
    double lo,
        hi; /* powers of ten at the ends of the plot's axis; hi = lo if there is nothing to draw */
    double y; /* the base line of the row that comes next */
};

/* The bytes of at most n characters of UTF-8. */
static size_t prefix(const char *s, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; s[at] && i < n; i++) do
            at++;
        while (((unsigned char)s[at] & 0xC0) == 0x80);
    return at;
}

/* At most n characters of s, in upper case if that is asked for. */
static void put_name(struct buffer *out, const char *s, size_t n, bool upper)
{
    struct buffer text = {0};
    size_t len = prefix(s, n);
    buffer_add(&text, s, len);
    for (size_t i = 0; upper && i < text.n; i++)
        text.data[i] = (char)toupper((unsigned char)text.data[i]);
    if (s[len]) buffer_put(&text, "…");
    buffer_xml(out, text.data ? text.data : "");
    buffer_free(&text);
}

static void open_text(const struct picture *p, double x, const char *class)
{
    buffer_print(p->out, "<text x=\"%g\" y=\"%g\" class=\"%s\">", x, p->y, class);
}

static void put_text(const struct picture *p, double x, const char *class, const char *s)
{
    open_text(p, x, class);
    buffer_xml(p->out, s);
    buffer_put(p->out, "</text>\n");
}

/* Three digits, a text that stands for a number as it is, "–" for null. */
static void put_number(const struct picture *p, double x, const json_t *number)
{
    char digits[32] = "–";
    if (json_is_number(number)) snprintf(digits, sizeof digits, "%.3g", json_number_value(number));
    if (json_is_string(number)) snprintf(digits, sizeof digits, "%s", json_string_value(number));
    put_text(p, x, "n", digits);
}

/* ---- the verdict ------------------------------------------------------------------------- */

static void verdict(struct picture *p, const json_t *report)
{
    struct buffer text = {0};
    bool good = report_verdict(&text, report);
    const char *s = text.data ? text.data : "";
    for (size_t line = 0; *s && line < MAX_LINES; line++) {
        size_t len = prefix(s, LINE), cut = len;
        while (s[len] && cut > len / 2 && s[cut] != ' ') cut--;
        if (s[len] && s[cut] == ' ') len = cut;
        char part[4 * LINE + 1];
        snprintf(part, sizeof part, "%.*s", (int)len, s);
        s += len + (s[len] == ' ');
        open_text(p, MARGIN, good ? "head good" : "head bad");
        if (line == 0) buffer_put(p->out, good ? "✓ " : "✗ ");
        buffer_xml(p->out, part);
        buffer_put(p->out, *s && line + 1 == MAX_LINES ? "…</text>\n" : "</text>\n");
        p->y += 22;
    }
    buffer_free(&text);
}

static void origin(struct picture *p, const json_t *report)
{
    open_text(p, MARGIN, "soft");
    static const char *const parts[][2] = {{"assay ", "tool.version"},
                                           {", commit ", "tool.git"},
                                           {", ", "started"},
                                           {", ", "environment.cpu"}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        buffer_put(p->out, parts[i][0]);
        put_name(p->out, json_text(report, parts[i][1]), 40, false);
    }
    buffer_put(p->out, "</text>\n");
    p->y += 30;
}

/* ---- the table of types ------------------------------------------------------------------ */

/* A value that a logarithmic axis can hold. */
static bool drawable(double x)
{
    return isfinite(x) && x > 0;
}

static double place(const struct picture *p, double x)
{
    return PLOT_LEFT + (log10(x) - p->lo) / (p->hi - p->lo) * (p->right - PLOT_LEFT);
}

static void find_columns(struct picture *p, const json_t *types)
{
    json_t *type, *subject;
    const char *name;
    size_t i;
    double low = INFINITY, high = 0;
    json_array_foreach(types, i, type)
    {
        const double kl[] = {json_real_at(type, "kl_mean"), json_real_at(type, "kl_max")};
        for (size_t k = 0; k < 2; k++) {
            if (!drawable(kl[k])) continue;
            low = fmin(low, kl[k]);
            high = fmax(high, kl[k]);
        }
        json_object_foreach(json_object_get(type, "subjects"), name, subject)
        {
            size_t k = 0;
            while (k < p->n_subjects && strcmp(p->subjects[k], name) != 0) k++;
            if (k == p->n_subjects && k < MAX_SUBJECTS) p->subjects[p->n_subjects++] = name;
        }
    }
    p->right = WIDTH - MARGIN - 150 - SUBJECT_WIDTH * (double)p->n_subjects;
    if (high > 0) {
        p->lo = floor(log10(low));
        p->hi = fmax(ceil(log10(high)), p->lo + 1);
    }
}

/* The heads of the columns, and the lines of the plot down to the last of n rows. */
static void heads(struct picture *p, size_t n)
{
    put_text(p, MARGIN, "soft", "type");
    put_text(p, PLOT_LEFT - 20, "n soft", "bits");
    open_text(p, PLOT_LEFT, "soft");
    buffer_put(p->out, "KL from the master, nats: <tspan class=\"mean\">● mean</tspan> "
                       "<tspan class=\"worst\">◆ worst</tspan></text>\n");
    put_text(p, p->right + 75, "n soft", "KL mean");
    put_text(p, p->right + 140, "n soft", "same top");
    for (size_t i = 0; i < p->n_subjects; i++) {
        open_text(p, p->right + 155 + SUBJECT_WIDTH * (double)i, "soft");
        put_name(p->out, p->subjects[i], NAME, false);
        buffer_put(p->out, "</text>\n");
    }
    const double top = p->y + 10, bottom = top + ROW * (double)n, step = ceil((p->hi - p->lo) / 6);
    for (double t = p->lo; step > 0 && t <= p->hi; t += step) {
        const double x = place(p, pow(10, t));
        buffer_print(p->out,
                     "<path class=\"rule\" d=\"M%.1f %gV%g\"/>\n<text x=\"%.1f\" y=\"%g\" "
                     "class=\"m soft\">1e%g</text>\n",
                     x, top, bottom + 4, x, bottom + 17, t);
    }
    p->y += ROW + 4;
}

/* Mean and worst KL divergence of a type, with a line between them. */
static void marks(const struct picture *p, double mean, double worst)
{
    const double y = p->y - 4;
    if (drawable(mean) && drawable(worst))
        buffer_print(p->out, "<path class=\"rule\" d=\"M%.1f %gH%.1f\"/>\n", place(p, mean), y,
                     place(p, worst));
    if (drawable(worst))
        buffer_print(p->out, "<path class=\"worst\" d=\"M%.1f %gl4.5 4.5-4.5 4.5-4.5-4.5z\"/>\n",
                     place(p, worst), y - 4.5);
    if (drawable(mean))
        buffer_print(p->out, "<circle class=\"mean\" cx=\"%.1f\" cy=\"%g\" r=\"4\"/>\n",
                     place(p, mean), y);
}

/* The share of the bound that a subject used on a type, in the colour of its verdict. */
static void cell(const struct picture *p, double x, const json_t *s)
{
    const char *status = json_text(s, "status"), *made = json_text(s, "verdict");
    const json_t *used = json_object_get(s, "used");
    const bool bad = report_status_is_bad(status),
               near = strcmp(made, "tie") == 0 || strcmp(status, "pass") != 0;
    const bool ran = s && strcmp(made, "not_run") != 0;
    char text[48];
    if (!ran)
        snprintf(text, sizeof text, "%s%s", bad ? "✗ " : "", bad ? status : s ? "skipped" : "–");
    else if (json_is_number(used))
        snprintf(text, sizeof text, "%s %.3g %%",
                 bad    ? "✗"
                 : near ? "≈"
                        : "✓",
                 100 * json_number_value(used));
    else
        snprintf(text, sizeof text, "✗ %s", json_text(s, "used"));
    put_text(p, x, bad ? "bad" : !ran ? "soft" : near ? "warn" : "good", text);
}

static void type_row(struct picture *p, const json_t *type)
{
    open_text(p, MARGIN, "name");
    put_name(p->out, json_text(type, "type"), NAME, true);
    buffer_put(p->out, "</text>\n");
    char bits[32];
    snprintf(bits, sizeof bits, "%.2f", json_real_at(type, "bits_per_weight"));
    put_text(p, PLOT_LEFT - 20, "n", bits);
    marks(p, json_real_at(type, "kl_mean"), json_real_at(type, "kl_max"));
    put_number(p, p->right + 75, json_object_get(type, "kl_mean"));
    char same[48] = "–";
    if (!json_is_null(json_object_get(type, "kl_mean")))
        snprintf(same, sizeof same, "%lld/%lld", (long long)json_count(type, "same_top"),
                 (long long)json_count(type, "prompts"));
    put_text(p, p->right + 140, "n", same);
    for (size_t i = 0; i < p->n_subjects; i++)
        cell(p, p->right + 155 + SUBJECT_WIDTH * (double)i,
             json_object_get(json_object_get(type, "subjects"), p->subjects[i]));
    p->y += ROW;
}

static void model_table(struct picture *p, const json_t *model)
{
    const json_t *types = json_object_get(model, "types");
    size_t n = json_array_size(types), shown = n < MAX_ROWS ? n : MAX_ROWS;
    find_columns(p, types);
    open_text(p, MARGIN, "name");
    put_name(p->out, json_text(model, "name"), 70, false);
    buffer_print(p->out, " in %zu type%s", n, n == 1 ? "" : "s");
    buffer_put(p->out, shown < n ? ", the first of them</text>\n" : "</text>\n");
    p->y += ROW + 4;
    heads(p, shown);
    for (size_t i = 0; i < shown; i++) type_row(p, json_array_get(types, i));
    p->y += ROW;
}

enum status format_svg(struct buffer *out, const json_t *report, struct err *e)
{
    struct buffer body = {0}, text = {0};
    struct picture p = {.out = &body, .y = MARGIN + 14};
    const json_t *models = json_object_get(report, "models");
    verdict(&p, report);
    origin(&p, report);
    if (json_array_size(models)) model_table(&p, json_array_get(models, 0));
    const double height = p.y + 6;
    report_verdict(&text, report);
    buffer_print(out,
                 "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%g\" "
                 "viewBox=\"0 0 %d %g\" role=\"img\" aria-labelledby=\"verdict\">\n"
                 "<title id=\"verdict\">",
                 WIDTH, height, WIDTH, height);
    buffer_xml(out, text.data ? text.data : "");
    buffer_print(
        out,
        "</title>\n<style>%s</style>\n<rect class=\"ground\" x=\".5\" y=\".5\" width=\"%d\" "
        "height=\"%g\" rx=\"6\"/>\n",
        style, WIDTH - 1, height - 1);
    if (body.n) buffer_add(out, body.data, body.n);
    buffer_put(out, "</svg>\n");
    out->failed = out->failed || body.failed || text.failed;
    buffer_free(&body);
    buffer_free(&text);
    return out->failed ? fail(e, ST_NOMEM, "no memory for the picture") : ST_OK;
}
