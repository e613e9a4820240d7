/* Running one mutant: build, the cases that must fail, the verdict. See mutant.h. */
#include "mutants/mutant.h"
#include "reports/report_json.h"
#include "base/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *mutant_verdict_name(enum mutant_verdict v)
{
    static const char *const names[] = {"killed", "survived", "no_anchor", "not_built", "not_run"};
    return names[v];
}

static const char *text_of(const json_t *row, const char *key)
{
    const char *s = json_text(row, key);
    return s ? s : "";
}

/* One case of the mutated program's report. A wrong result says more than a crash. */
static void take_case(struct mutant_result *r, const json_t *row)
{
    const char *status = text_of(row, "status"), *why = text_of(row, "message");
    r->cases++;
    if (!report_status_is_bad(status)) {
        if (strcmp(status, "skip") == 0 && !*r->message)
            snprintf(r->message, sizeof r->message, "%s", why);
        return;
    }
    r->failed++;
    bool judged = json_count(row, "bad") > 0;
    double used = json_real_at(row, "used");
    if (judged && !(used <= r->used)) r->used = used;
    if (*r->killer && (strcmp(r->status, "fail") == 0 || strcmp(status, "fail") != 0)) return;
    snprintf(r->killer, sizeof r->killer, "%s", text_of(row, "name"));
    snprintf(r->status, sizeof r->status, "%s", status);
    snprintf(r->message, sizeof r->message, "%s", judged ? text_of(row, "pattern") : why);
}

/* Exit statuses of `assay test`: 1 = a case failed, 77 = nothing ran. */
static void judge(struct mutant_result *r, const char *report, int code)
{
    size_t i;
    json_t *root = NULL, *row;
    struct err e = {0};
    if (report_load(&root, report, &e) == ST_OK)
        json_array_foreach(json_object_get(root, "cases"), i, row) take_case(r, row);
    if (code == EXIT_FAIL && r->failed > 0) {
        r->verdict = MUTANT_KILLED;
    } else if (code == EXIT_NOTHING && r->cases > 0) {
        bool shader = strncmp(r->message, "no shader", 9) == 0; /* that mutant_make left out */
        r->verdict = shader ? MUTANT_NOT_BUILT : MUTANT_NOT_RUN;
    } else {
        r->verdict = MUTANT_SURVIVED;
        if (r->cases == 0)
            snprintf(r->message, sizeof r->message, "no case ran (exit status %d)", code);
        else
            snprintf(r->message, sizeof r->message, "%zu cases, exit status %d", r->cases, code);
    }
    json_decref(root);
}

int mutant_test(const char *filters, const struct mutant *m, const char *scratch, const char *log)
{
    char subject[64] = "";
    if (strcmp(m->subject, "-") != 0)
        snprintf(subject, sizeof subject, " --subject '%s%s%s'", m->subject, *m->variant ? "+" : "",
                 m->variant);
    size_t cap = 2 * strlen(scratch) + strlen(filters) + sizeof subject + 100;
    char *command = malloc(cap);
    if (!command) return -1;
    snprintf(command, cap,
             "'%s/assay' test%s%s -j 1 --timeout 20 --stop-on-failure --report '%s/report.json'",
             scratch, filters, subject, scratch);
    int code = mutant_shell(command, log);
    free(command);
    return code;
}

void mutant_run(struct mutant_result *out, const struct mutant_build *b, const struct mutant *m,
                bool keep)
{
    char scratch[2048], log[2100], report[2100], filter[512];
    struct err e = {0};
    double start = now_seconds();
    *out = (struct mutant_result){.used = NAN};
    if (m->left_out) {
        out->verdict = MUTANT_NOT_RUN;
        snprintf(out->message, sizeof out->message, "this build has no %s backend", m->left_out);
        return;
    }
    snprintf(scratch, sizeof scratch, "%s/mutants/%s", b->dir, m->name);
    snprintf(log, sizeof log, "%s/log", scratch);
    snprintf(report, sizeof report, "%s/report.json", scratch);
    enum status st = mutant_make(b, m, scratch, &e);
    if (st == ST_OK) {
        snprintf(filter, sizeof filter, " '%s'", m->filter);
        judge(out, report, mutant_test(filter, m, scratch, log));
    } else {
        out->verdict = st == ST_FORMAT ? MUTANT_NO_ANCHOR : MUTANT_NOT_BUILT;
        snprintf(out->message, sizeof out->message, "%s", e.text);
    }
    out->seconds = now_seconds() - start;
    if (!keep && out->verdict != MUTANT_NOT_BUILT) mutant_clean(scratch);
}
