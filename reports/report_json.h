/* Values as JSON, and whole reports: what the files that write and read reports share. */
#ifndef REPORT_JSON_H
#define REPORT_JSON_H

#include "reports/report.h"

#include <jansson.h>

/* A JSON number, or one of the strings "nan", "inf", "-inf". */
json_t *report_number(double x);
/* A JSON string. Each byte of s that is not part of valid UTF-8 becomes U+FFFD. NULL gives null. */
json_t *report_text(const char *s);
/* One of the report's arrays, by name ("locate"). The report owns it. */
json_t *report_list(struct report *r, const char *name);

/* Makes the members of an empty report that stand behind its cases. The caller owns it. */
json_t *report_rest(void);
/* Counts a case in the coverage table. index: an object that is empty at first, in which
 * report_count finds a table's cells again. */
void report_count(json_t *coverage, json_t *index, const json_t *c);
/* Is a a larger share of a bound than b? Both are as JSON has them; nan counts as the largest. */
bool report_uses_more(const json_t *a, const json_t *b);
/* Is the status "fail", "crash" or "timeout"? */
bool report_status_is_bad(const char *status);

/* A member by its path ("tool.version"). If there is none, json_at returns NULL, json_text "",
 * json_real_at NAN and json_count 0. json_real_at returns NAN and infinities for the strings that
 * stand for them. What they return belongs to j. */
json_t *json_at(const json_t *j, const char *path);
const char *json_text(const json_t *j, const char *path);
double json_real_at(const json_t *j, const char *path);
json_int_t json_count(const json_t *j, const char *path);

/* Reads a report, which may be gzip-compressed, and checks it against the schema. Of a file that
 * ends in the middle of a write, the whole cases are recovered; the report is then not complete.
 * The caller owns *out. */
enum status report_load(json_t **out, const char *path, struct err *e);
/* Replaces coverage and summary by what the cases add up to. */
void report_recount(json_t *root);
/* Merges n reports into one file: cases, models and the other lists are joined in the order of
 * paths, coverage and summary are counted anew. An environment that differs from the first is kept
 * in machines[], and what comes from it is marked with the member "machine". Unless any_version is
 * set, reports of different builds are refused. */
enum status report_merge(const char *const *paths, size_t n, bool any_version, const char *out,
                         struct err *e);

#endif
