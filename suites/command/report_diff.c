/* assay report diff. */
#include "reports/diff.h"
#include "command/report_args.h"
#include "reports/report_json.h"
#include "base/terminal.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum { MAX_SHOWN = 20 };

/* What --help says before the options: all kinds of changes, one a line. */
static const char *kinds_of_change(char *out, size_t cap)
{
    size_t n = (size_t)snprintf(out, cap,
                                "usage: assay report diff OLD NEW [options]\n\n"
                                "What changed from one report to another:\n\n");
    for (int k = 0; k < DIFF_END && n < cap; k++)
        n += (size_t)snprintf(out + n, cap - n, "  %-10s %s%s\n", diff_kinds[k].name,
                              diff_kinds[k].what, diff_kinds[k].alarm ? " (*)" : "");
    if (n + 1 < cap) strcpy(out + n, "\n");
    return out;
}

static int check_list(const char *list)
{
    char name[32];
    for (const char *p = list; list_next(&p, name, sizeof name);) {
        bool known = false;
        for (int k = 0; k < DIFF_END; k++) known = known || strcmp(name, diff_kinds[k].name) == 0;
        if (!known) return cmd_usage("report", "--ignore: there is no kind '%s'", name);
    }
    return -1;
}

static void print_entry(const json_t *e)
{
    struct buffer b = {0};
    if (json_object_get(e, "unit")) {
        buffer_print(&b, "  %s on %s: ", json_text(e, "name"), json_text(e, "subject"));
        buffer_number(&b, json_object_get(e, "old"));
        buffer_put(&b, " -> ");
        buffer_number(&b, json_object_get(e, "new"));
        buffer_print(&b, " %s", json_text(e, "unit"));
    } else {
        buffer_print(&b, "  %s: %s -> %s", json_text(e, "name"),
                     *json_text(e, "old") ? json_text(e, "old") : "absent",
                     *json_text(e, "new") ? json_text(e, "new") : "absent");
        buffer_put(&b, ", used ");
        buffer_number(&b, json_object_get(e, "old_used"));
        buffer_put(&b, " -> ");
        buffer_number(&b, json_object_get(e, "new_used"));
    }
    text_print(b.data);
    buffer_free(&b);
}

/* Returns how many alarms there are. */
static size_t print_diff(const json_t *diff, const char *ignore, bool all)
{
    size_t alarms = 0;
    for (int k = 0; k < DIFF_END; k++) {
        const json_t *list = json_object_get(diff, diff_kinds[k].name), *e;
        size_t n = json_array_size(list), i;
        bool alarm = diff_kinds[k].alarm && !list_has(ignore, diff_kinds[k].name);
        if (n == 0) continue;
        if (alarm) alarms += n;
        printf("%s%s%s: %zu %s\n", terminal_color(alarm ? "red" : "bold"), diff_kinds[k].name,
               terminal_color("reset"), n, diff_kinds[k].what);
        for (i = 0; i < n && (all || i < MAX_SHOWN) && (e = json_array_get(list, i)); i++)
            if (k != DIFF_added || all) print_entry(e);
        if (i < n && k != DIFF_added) printf("  and %zu more\n", n - i);
    }
    if (*json_text(diff, "note")) printf("%s\n", json_text(diff, "note"));
    return alarms;
}

static int judge(const json_t *after, const json_t *diff, const char *ignore, bool all)
{
    size_t alarms = print_diff(diff, ignore, all);
    bool complete = json_is_true(json_object_get(after, "complete"));
    if (!complete) printf("the new report is not complete\n");
    if (!alarms && complete)
        printf("%sno alarm%s\n", terminal_color("green"), terminal_color("reset"));
    return alarms || !complete ? EXIT_FAIL : EXIT_PASS;
}

struct diff_args {
    const char *ignore, *out;
    bool all;
};

static int parse(int argc, char **argv, struct diff_args *a)
{
    char text[2048];
    const struct option_help help = {
        kinds_of_change(text, sizeof text),
        "Exit status: 0 nothing with (*), 1 something or NEW is not complete, 2 usage.\n",
    };
    const struct option_row rows[] = {
        {"ignore", OPTION_TEXT, &a->ignore, .argument = "LIST",
         .help = "kinds with (*) that are no reason to fail"},
        {"all", OPTION_FLAG, &a->all, .help = "name all of each kind, not only the first ones"},
        {"json", OPTION_TEXT, &a->out, .argument = "FILE", .help = "write the comparison"},
    };
    int code = options_parse(argc, argv, &help, rows, sizeof rows / sizeof *rows);
    if (code >= 0) return code;
    if (optind + 2 != argc) return cmd_usage("report", "diff takes two reports");
    return check_list(a->ignore);
}

int report_compare(int argc, char **argv)
{
    struct diff_args a = {0};
    int code = parse(argc, argv, &a);
    if (code >= 0) return code;
    struct err e = {0};
    struct buffer json = {0};
    json_t *before = NULL, *after = NULL, *diff = NULL;
    enum status st = report_load(&before, argv[optind], &e);
    if (st == ST_OK) st = report_load(&after, argv[optind + 1], &e);
    if (st == ST_OK) {
        diff = diff_make(before, after);
        code = judge(after, diff, a.ignore, a.all);
        buffer_json(&json, diff, JSON_INDENT(1));
        buffer_put(&json, "\n");
        if (a.out) st = buffer_save(&json, a.out, &e);
    }
    buffer_free(&json);
    json_decref(diff);
    json_decref(before);
    json_decref(after);
    return st == ST_OK ? code : cmd_error("report", &e);
}
