/* assay report: what is made from reports. One line per action; what they do is in reports/. */
#include "command/report_args.h"

#include <stdio.h>
#include <string.h>

static const struct action {
    const char *name, *arguments, *what;
    int (*run)(int argc, char **argv);
} actions[] = {
    {"html", "REPORT", "one page with everything, for a browser", report_convert},
    {"svg", "REPORT", "a picture: verdict, types and what they cost", report_convert},
    {"markdown", "REPORT", "a summary for a pipeline's page", report_convert},
    {"junit", "REPORT", "JUnit XML", report_convert},
    {"sarif", "REPORT", "failures at their source, SARIF 2.1.0", report_convert},
    {"csv", "REPORT", "one table (--table cases)", report_convert},
    {"validate", "REPORT...", "check against the schema, and the sums", report_validate},
    {"merge", "FILE|DIR...", "several reports into one (--out FILE)", report_merge_files},
    {"diff", "OLD NEW", "what became better and worse", report_compare},
    {"gate", "REPORT", "judge by a policy (--policy FILE)", report_judge},
    {"signoff", "REPORT", "make a release directory (--policy, --out)", report_sign},
    {"index", "DIR", "a page with charts over all reports in DIR", report_index},
};
enum { N_ACTIONS = sizeof actions / sizeof *actions };

static void print_help(void)
{
    printf("usage: assay report ACTION ...\n\n");
    for (size_t i = 0; i < N_ACTIONS; i++)
        printf("  %-9s %-12s %s\n", actions[i].name, actions[i].arguments, actions[i].what);
    printf(
        "\nA REPORT is what --report and 'assay qualify' write; it may be compressed with gzip.\n"
        "'assay report ACTION --help' says more.\n\n"
        "examples:\n"
        "  assay report html report/report.json --out report.html\n"
        "  assay report diff old.json new.json\n"
        "  assay report gate report.json --policy policy.json\n");
}

int cmd_report(int argc, char **argv)
{
    if (argc < 2) return cmd_usage("report", "no action given");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help();
        return EXIT_PASS;
    }
    for (size_t i = 0; i < N_ACTIONS; i++) {
        if (strcmp(argv[1], actions[i].name) != 0) continue;
        char name[48]; /* what messages about options begin with */
        snprintf(name, sizeof name, "assay report %s", actions[i].name);
        argv[1] = name;
        return actions[i].run(argc - 1, argv + 1);
    }
    return cmd_usage("report", "there is no action '%s'", argv[1]);
}
