/* What the files that fill the report share: values as JSON. */
#ifndef REPORT_JSON_H
#define REPORT_JSON_H

#include "reports/report.h"

#include <jansson.h>

/* A number, or "nan", "inf", "-inf". */
json_t *report_number(double x);
/* Text with bytes that are not UTF-8 replaced; NULL gives null. */
json_t *report_text(const char *s);
/* One of the report's arrays ("locate"), borrowed. */
json_t *report_list(struct report *r, const char *name);

/* An empty report without its head and cases. */
json_t *report_rest(void);
/* Counts a case in the coverage table; index: an object for report_count's own use, {} at first. */
void report_count(json_t *coverage, json_t *index, const json_t *c);
/* Is a the larger share of a bound? Of numbers as they stand in JSON: nan is the largest. */
bool uses_more(const json_t *a, const json_t *b);
/* fail, crash or timeout */
bool status_is_bad(const char *status);

/* Members by path ("tool.version"), NULL, "", NAN or 0 if there is none. Numbers that were written
 * as text come back as such. */
json_t *json_at(const json_t *j, const char *path);
const char *json_text(const json_t *j, const char *path);
double json_real_at(const json_t *j, const char *path);
json_int_t json_count(const json_t *j, const char *path);

/* Reads a report, gzip-compressed or not. One that ends in the middle of a write is recovered as
 * far as it goes and is then not complete. */
enum status report_load(json_t **out, const char *path, struct err *e);
/* Computes coverage and summary from the cases. */
void report_recount(json_t *root);
/* Reports into one: cases, models and the rest one after the other, coverage and summary counted
 * anew. Environments that differ are kept in machines[], and what comes from there is marked with
 * machine. Unless any_version, all must be of the same build. */
enum status report_merge(const char *const *paths, size_t n, bool any_version, const char *out,
                         struct err *e);

#endif
