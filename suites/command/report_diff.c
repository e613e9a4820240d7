/* assay report diff. */
#include "reports/diff.h"
#include "command/report_args.h"
#include "reports/report_json.h"
#include "base/terminal.h"
#include "base/text.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { MAX_SHOWN = 20 };

static void print_help(void)
{
    printf("usage: assay report diff OLD NEW [options]\n\n"
           "What changed from one report to another:\n\n");
    for (int k = 0; k < DIFF_END; k++)
        printf("  %-10s %s%s\n", diff_kinds[k].name, diff_kinds[k].what,
               diff_kinds[k].alarm ? " (*)" : "");
    printf("\n  --ignore LIST  kinds with (*) that are no reason to fail\n"
           "  --all          name all, not only the first %d of each kind\n"
           "  --json FILE    write the comparison\n\n"
           "Exit status: 0 nothing with (*), 1 something or NEW is not complete, 2 usage.\n",
           MAX_SHOWN);
}

static bool is_listed(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = list; p && *p; p += strcspn(p, ","), p += *p == ',')
        if (strncmp(p, name, n) == 0 && (p[n] == 0 || p[n] == ',')) return true;
    return false;
}

static int check_list(const char *list)
{
    for (const char *p = list; p && *p; p += strcspn(p, ","), p += *p == ',') {
        bool known = false;
        for (int k = 0; k < DIFF_END; k++) {
            size_t n = strlen(diff_kinds[k].name);
            known = known || (strncmp(p, diff_kinds[k].name, n) == 0 && (p[n] == 0 || p[n] == ','));
        }
        if (!known)
            return cmd_usage("report", "--ignore: there is no kind '%.*s'", (int)strcspn(p, ","),
                             p);
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
        bool alarm = diff_kinds[k].alarm && !is_listed(ignore, diff_kinds[k].name);
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

int report_compare(int argc, char **argv)
{
    static const struct option options[] = {{"ignore", required_argument, NULL, 'i'},
                                            {"all", no_argument, NULL, 'a'},
                                            {"json", required_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *ignore = NULL, *out = NULL;
    bool all = false;
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (c) {
        case 'i':
            ignore = optarg;
            break;
        case 'a':
            all = true;
            break;
        case 'j':
            out = optarg;
            break;
        case 'h':
            return print_help(), EXIT_PASS;
        default:
            return EXIT_USAGE;
        }
    }
    if (optind + 2 != argc) return cmd_usage("report", "diff takes two reports");
    if ((c = check_list(ignore)) >= 0) return c;
    struct err e = {0};
    struct buffer text = {0};
    json_t *before = NULL, *after = NULL, *diff = NULL;
    int code = EXIT_PASS;
    enum status st = report_load(&before, argv[optind], &e);
    if (st == ST_OK) st = report_load(&after, argv[optind + 1], &e);
    if (st == ST_OK) {
        diff = diff_make(before, after);
        code = judge(after, diff, ignore, all);
        buffer_json(&text, diff, JSON_INDENT(1));
        buffer_put(&text, "\n");
        if (out) st = buffer_save(&text, out, &e);
    }
    buffer_free(&text);
    json_decref(diff);
    json_decref(before);
    json_decref(after);
    return st == ST_OK ? code : cmd_error("report", &e);
}
