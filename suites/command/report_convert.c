/* assay report html, svg, markdown, junit, sarif, csv; validate; merge. */
#include "reports/embedded.h"
#include "reports/formats.h"
#include "command/report_args.h"
#include "reports/report_json.h"
#include "reports/validate.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- one report into another format ------------------------------------------------------ */

static const struct option_help convert_help = {
    "usage: assay report html|svg|markdown|junit|sarif|csv REPORT [options]\n\n",
    NULL,
};

static enum status convert(struct buffer *out, const char *format, const json_t *report,
                           const char *table, struct err *e)
{
    if (strcmp(format, "csv") == 0) return format_csv(out, report, table ? table : "cases", e);
    if (table) return fail(e, ST_USAGE, "--table belongs to csv");
    if (strcmp(format, "html") == 0) return format_html(out, report, e);
    if (strcmp(format, "svg") == 0) return format_svg(out, report, e);
    if (strcmp(format, "markdown") == 0) return format_markdown(out, report, e);
    if (strcmp(format, "junit") == 0) return format_junit(out, report, e);
    return format_sarif(out, report, e);
}

int report_convert(int argc, char **argv)
{
    const char *out = NULL, *table = NULL;
    const struct option_row rows[] = {
        {"out", OPTION_TEXT, &out, .letter = 'o', .argument = "FILE",
         .help = "write to this file instead of to standard output"},
        {"table", OPTION_TEXT, &table, .argument = "NAME", .help = "csv: cases (default) or bench"},
    };
    int code = options_parse(argc, argv, &convert_help, rows, sizeof rows / sizeof *rows);
    if (code >= 0) return code;
    if (optind + 1 != argc)
        return cmd_usage("report", "%s takes one report", report_action(argv[0]));
    struct err e = {0};
    struct buffer text = {0};
    json_t *report = NULL;
    enum status st = report_load(&report, argv[optind], &e);
    if (st == ST_OK) st = convert(&text, report_action(argv[0]), report, table, &e);
    if (st == ST_OK) st = buffer_save(&text, out, &e);
    json_decref(report);
    buffer_free(&text);
    return st == ST_OK ? EXIT_PASS : cmd_error("report", &e);
}

/* ---- validate ---------------------------------------------------------------------------- */

static const struct option_help validate_help = {
    "usage: assay report validate REPORT...\n\n"
    "Checks reports against the schema that this program carries, and that summary and\n"
    "coverage are what the cases add up to. A report that is not complete (killed or\n"
    "interrupted) is valid; it is said.\n\n",
    "Exit status: 0 all are valid, 1 one is not, 2 usage.\n",
};

static enum status validate_one(const char *path, bool *valid, struct err *e)
{
    struct findings found = {0};
    struct file f;
    json_error_t je;
    enum status st = file_open(&f, path, e);
    if (st != ST_OK) return st;
    json_t *doc = json_loadb((const char *)f.bytes.data, f.bytes.size, JSON_REJECT_DUPLICATES, &je);
    file_close(&f);
    if (!doc) {
        printf("%s: not JSON: line %d: %s\n", path, je.line, je.text);
        *valid = false;
        return ST_OK;
    }
    st = validate_schema(&found, "schema.json", doc, e);
    if (st == ST_OK && found.n == 0) validate_sums(&found, doc);
    for (size_t i = 0; i < found.n && i < FINDINGS_MAX; i++)
        printf("%s: %s\n", path, found.text[i]);
    if (found.n > FINDINGS_MAX) printf("%s: and %zu more\n", path, found.n - FINDINGS_MAX);
    if (st == ST_OK && found.n == 0)
        printf("%s: valid, %zu cases%s\n", path, json_array_size(json_object_get(doc, "cases")),
               json_is_true(json_object_get(doc, "complete")) ? "" : ", not complete");
    *valid = *valid && found.n == 0;
    json_decref(doc);
    return st;
}

int report_validate(int argc, char **argv)
{
    bool print_schema = false;
    const struct option_row rows[] = {
        {"schema", OPTION_FLAG, &print_schema, .help = "print the schema"},
    };
    int code = options_parse(argc, argv, &validate_help, rows, sizeof rows / sizeof *rows);
    if (code >= 0) return code;
    if (print_schema) {
        struct span schema = embedded_file("schema.json");
        fwrite(schema.data, 1, schema.size, stdout);
        return EXIT_PASS;
    }
    if (optind == argc) return cmd_usage("report", "no report to validate");
    struct err e = {0};
    bool valid = true;
    for (int i = optind; i < argc; i++)
        if (validate_one(argv[i], &valid, &e) != ST_OK) return cmd_error("report", &e);
    return valid ? EXIT_PASS : EXIT_FAIL;
}

/* ---- merge ------------------------------------------------------------------------------- */

static const struct option_help merge_help = {
    "usage: assay report merge FILE|DIR... --out FILE [options]\n\n"
    "Merges reports into one; a directory stands for all its .json and .json.gz files.\n\n",
    NULL,
};

enum { MAX_FILES = 65536 };

static enum status add_one(struct file_list *l, const char *path, struct err *e)
{
    if (!l->paths) l->paths = alloc_array(MAX_FILES, sizeof *l->paths);
    if (l->n == MAX_FILES) return fail(e, ST_RANGE, "more than %d reports", MAX_FILES);
    if (!l->paths || !(l->paths[l->n] = strdup(path)))
        return fail(e, ST_NOMEM, "no memory for %zu names", l->n);
    l->n++;
    return ST_OK;
}

static bool ends_in(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n > k && strcmp(s + n - k, end) == 0;
}

static int is_report_name(const struct dirent *d)
{
    return *d->d_name != '.' && (ends_in(d->d_name, ".json") || ends_in(d->d_name, ".json.gz"));
}

enum status files_add(struct file_list *l, const char *path, struct err *e)
{
    struct stat s;
    struct dirent **names;
    if (stat(path, &s) != 0 || !S_ISDIR(s.st_mode)) return add_one(l, path, e);
    int n = scandir(path, &names, is_report_name, alphasort);
    if (n < 0) return fail(e, ST_IO, "%s: cannot be read", path);
    enum status st = n ? ST_OK : fail(e, ST_USAGE, "%s: there are no reports in it", path);
    for (int i = 0; i < n; i++) {
        char full[4400];
        snprintf(full, sizeof full, "%s/%s", path, names[i]->d_name);
        if (st == ST_OK) st = add_one(l, full, e);
        free(names[i]);
    }
    free(names);
    return st;
}

void files_free(struct file_list *l)
{
    for (size_t i = 0; i < l->n; i++) free(l->paths[i]);
    free(l->paths);
    *l = (struct file_list){0};
}

static enum status also_as(const char *path, const json_t *report, const char *format,
                           struct err *e)
{
    struct buffer text = {0};
    enum status st = path ? convert(&text, format, report, NULL, e) : ST_OK;
    if (path && st == ST_OK) st = buffer_save(&text, path, e);
    buffer_free(&text);
    return st;
}

int report_merge_files(int argc, char **argv)
{
    const char *out = NULL, *junit = NULL, *html = NULL;
    bool any = false;
    const struct option_row rows[] = {
        {"out", OPTION_TEXT, &out, .letter = 'o', .argument = "FILE", .help = "the merged report"},
        {"any-version", OPTION_FLAG, &any, .help = "also reports of different builds of assay"},
        {"junit", OPTION_TEXT, &junit, .argument = "FILE", .help = "also as JUnit XML"},
        {"html", OPTION_TEXT, &html, .argument = "FILE", .help = "also as a page"},
    };
    int code = options_parse(argc, argv, &merge_help, rows, sizeof rows / sizeof *rows);
    if (code >= 0) return code;
    if (!out) return cmd_usage("report", "--out is missing");
    if (optind == argc) return cmd_usage("report", "no reports to merge");
    struct err e = {0};
    struct file_list l = {0};
    json_t *merged = NULL;
    enum status st = ST_OK;
    for (int i = optind; i < argc && st == ST_OK; i++) st = files_add(&l, argv[i], &e);
    if (st == ST_OK) st = report_merge((const char *const *)l.paths, l.n, any, out, &e);
    if (st == ST_OK && (junit || html)) st = report_load(&merged, out, &e);
    if (st == ST_OK) st = also_as(junit, merged, "junit", &e);
    if (st == ST_OK) st = also_as(html, merged, "html", &e);
    if (st == ST_OK) printf("%zu reports merged into %s\n", l.n, out);
    json_decref(merged);
    files_free(&l);
    return st == ST_OK ? EXIT_PASS : cmd_error("report", &e);
}
