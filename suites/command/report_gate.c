/* assay report gate, signoff, index. */
#include "reports/buffer.h"
#include "reports/embedded.h"
#include "reports/formats.h"
#include "reports/gate.h"
#include "reports/kept.h"
#include "command/report_args.h"
#include "reports/report_json.h"
#include "reports/signoff.h"
#include "base/terminal.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

struct gate_args {
    const char *policy, *today, *json, *out, *product, *version;
    struct option_texts logs;
    const char *report;
};

static const struct option_help gate_help = {
    "usage: assay report gate REPORT --policy FILE [options]\n\n"
    "Judges a report by a policy: which cells (suite, operation, type, subject) must pass,\n"
    "what may be skipped, which failures are waived. A cell that is missing is a failure, a\n"
    "waiver that has expired too. reports/README.md describes policies.\n\n",
    "Exit status: 0 the policy is met, 1 it is not, 2 usage.\n",
};

static const struct option_help signoff_help = {
    "usage: assay report signoff REPORT --policy FILE --out DIR --product NAME\n"
    "                            --version V [options]\n\n"
    "Makes a release directory: report, page, JUnit, policy, its judgement, environment,\n"
    "logs, a one-page statement, and SHA256SUMS. The same inputs make the same bytes. If the\n"
    "policy is not met, nothing is made.\n\n",
    "Exit status: 0 made, 1 the policy is not met or an error, 2 usage.\n",
};

/* The report that is judged, and by what; -1 to go on. */
static int take_report(int argc, char **argv, struct gate_args *a)
{
    if (optind + 1 != argc)
        return cmd_usage("report", "%s takes one report", report_action(argv[0]));
    if (!a->policy) return cmd_usage("report", "--policy is missing");
    a->report = argv[optind];
    return -1;
}

static int parse_gate(int argc, char **argv, struct gate_args *a)
{
    const struct span text = embedded_file("policy.schema.json");
    bool schema = false;
    const struct option_row rows[] = {
        {"policy", OPTION_TEXT, &a->policy, .argument = "FILE", .help = "the policy, JSON"},
        {"today", OPTION_TEXT, &a->today, .argument = "DAY",
         .help = "judge expiry as of this day (default: $SOURCE_DATE_EPOCH, else today)"},
        {"json", OPTION_TEXT, &a->json, .argument = "FILE", .help = "write the judgement"},
        {"schema", OPTION_FLAG, &schema, .help = "print the schema of policies"},
    };
    int code = options_parse(argc, argv, &gate_help, rows, sizeof rows / sizeof *rows);
    if (code >= 0) return code;
    if (!schema) return take_report(argc, argv, a);
    fwrite(text.data, 1, text.size, stdout);
    return EXIT_PASS;
}

static int parse_signoff(int argc, char **argv, struct gate_args *a)
{
    const struct option_row rows[] = {
        {"policy", OPTION_TEXT, &a->policy, .argument = "FILE", .help = "the policy, JSON"},
        {"out", OPTION_TEXT, &a->out, .letter = 'o', .argument = "DIR",
         .help = "a new or empty directory"},
        {"product", OPTION_TEXT, &a->product, .argument = "NAME",
         .help = "what is released, for the statement"},
        {"version", OPTION_TEXT, &a->version, .argument = "V", .help = "and which version of it"},
        {"log", OPTION_TEXTS, &a->logs, .argument = "FILE",
         .help = "take this file along; may be repeated"},
        {"today", OPTION_TEXT, &a->today, .argument = "DAY",
         .help = "judge expiry as of this day (default: $SOURCE_DATE_EPOCH, else today)"},
    };
    int code = options_parse(argc, argv, &signoff_help, rows, sizeof rows / sizeof *rows);
    if (code >= 0 || (code = take_report(argc, argv, a)) >= 0) return code;
    if (!a->out || !a->product || !a->version)
        return cmd_usage("report", "signoff needs --out, --product and --version");
    return -1;
}

static void print_gate(const json_t *gate)
{
    const json_t *problems = json_object_get(gate, "problems");
    json_t *p, *w, *c;
    size_t i, passed = 0, skipped = 0, n = json_array_size(json_object_get(gate, "cells"));
    json_array_foreach(problems, i, p) text_print(json_string_value(p));
    json_array_foreach(json_object_get(gate, "waivers"), i, w)
    {
        struct buffer b = {0};
        if (strcmp(json_text(w, "state"), "unused") != 0) continue;
        buffer_print(&b, "a waiver is not needed: %s (%s)", json_text(w, "case"),
                     json_text(w, "reason"));
        text_print(b.data);
        buffer_free(&b);
    }
    json_array_foreach(json_object_get(gate, "cells"), i, c)
    {
        passed += strcmp(json_text(c, "state"), "pass") == 0 ||
                  strcmp(json_text(c, "state"), "waived") == 0;
        skipped += strcmp(json_text(c, "state"), "skipped") == 0;
    }
    bool ok = json_is_true(json_object_get(gate, "ok"));
    printf("%s%s%s: %zu of %zu required cells pass, %zu skipped with leave, %zu problems\n",
           terminal_color(ok ? "green" : "red"), ok ? "met" : "not met", terminal_color("reset"),
           passed, n, skipped, json_array_size(problems));
}

struct judged_report {
    json_t *report, *policy, *gate;
};

static enum status judge(struct judged_report *j, const struct gate_args *a, struct err *e)
{
    char today[11];
    enum status st = gate_today(today, a->today, e);
    if (st == ST_OK) st = report_load(&j->report, a->report, e);
    if (st == ST_OK) st = policy_load(&j->policy, a->policy, e);
    if (st == ST_OK) j->gate = gate_make(j->report, j->policy, today);
    return st;
}

static void judged_free(struct judged_report *j)
{
    json_decref(j->report);
    json_decref(j->policy);
    json_decref(j->gate);
}

int report_judge(int argc, char **argv)
{
    struct gate_args a = {0};
    struct judged_report j = {0};
    struct buffer text = {0};
    struct err e = {0};
    int code = parse_gate(argc, argv, &a);
    if (code >= 0) return code;
    enum status st = judge(&j, &a, &e);
    if (st == ST_OK) {
        print_gate(j.gate);
        buffer_json(&text, j.gate, JSON_INDENT(1));
        buffer_put(&text, "\n");
        if (a.json) st = buffer_save(&text, a.json, &e);
        code = json_is_true(json_object_get(j.gate, "ok")) ? EXIT_PASS : EXIT_FAIL;
    }
    buffer_free(&text);
    judged_free(&j);
    return st == ST_OK ? code : cmd_error("report", &e);
}

int report_sign(int argc, char **argv)
{
    struct gate_args a = {0};
    struct judged_report j = {0};
    struct err e = {0};
    int code = parse_signoff(argc, argv, &a);
    if (code >= 0) return code;
    enum status st = judge(&j, &a, &e);
    if (st == ST_OK) print_gate(j.gate);
    bool ok = json_is_true(json_object_get(j.gate, "ok"));
    if (st == ST_OK && ok) {
        struct signoff s = {.report_path = a.report,
                            .policy_path = a.policy,
                            .report = j.report,
                            .gate = j.gate,
                            .product = a.product,
                            .version = a.version,
                            .logs = a.logs.text,
                            .n_logs = a.logs.n};
        st = signoff_make(a.out, &s, &e);
        if (st == ST_OK) printf("release directory: %s\n", a.out);
    }
    judged_free(&j);
    return st != ST_OK ? cmd_error("report", &e) : ok ? EXIT_PASS : EXIT_FAIL;
}

/* ---- index ------------------------------------------------------------------------------- */

static const struct option_help index_help = {
    "usage: assay report index DIR [--out FILE]\n\n"
    "Makes a page with charts of pass counts, budget used and speed over all reports in DIR\n"
    "(.json and .json.gz), in the order of their versions and times.\n\n",
    NULL,
};

int report_index(int argc, char **argv)
{
    const char *out = NULL;
    char path[4400];
    const struct option_row rows[] = {
        {"out", OPTION_TEXT, &out, .letter = 'o', .argument = "FILE",
         .help = "default: DIR/index.html"},
    };
    int code = options_parse(argc, argv, &index_help, rows, sizeof rows / sizeof *rows);
    if (code >= 0) return code;
    if (optind + 1 != argc) return cmd_usage("report", "index takes one directory");
    struct err e = {0};
    struct buffer text = {0};
    struct file_list l = {0};
    snprintf(path, sizeof path, "%s/index.html", argv[optind]);
    enum status st = files_add(&l, argv[optind], &e);
    if (st == ST_OK) st = kept_page(&text, (const char *const *)l.paths, l.n, &e);
    if (st == ST_OK) st = buffer_save(&text, out ? out : path, &e);
    if (st == ST_OK) printf("%zu reports in %s\n", l.n, out ? out : path);
    buffer_free(&text);
    files_free(&l);
    return st == ST_OK ? EXIT_PASS : cmd_error("report", &e);
}
