/* What a report is turned into for other programs. All take a report that report_load gave. */
#ifndef FORMATS_H
#define FORMATS_H

#include "reports/buffer.h"

/* JUnit XML: a suite per suite, a test case per case. */
enum status format_junit(struct buffer *out, const json_t *report, struct err *e);
/* Markdown for a job summary: verdict, matrix, cross-quantization table, failures, what was not
 * run. Under a megabyte whatever the report. */
enum status format_markdown(struct buffer *out, const json_t *report, struct err *e);
/* SARIF 2.1.0: a result per failed case, at the source of the operation. */
enum status format_sarif(struct buffer *out, const json_t *report, struct err *e);
/* A table as CSV (RFC 4180), a row per case or per measurement of speed. table: "cases" or "bench"; any
 * other name is ST_USAGE. */
enum status format_csv(struct buffer *out, const json_t *report, const char *table, struct err *e);
/* One page that needs nothing else. */
enum status format_html(struct buffer *out, const json_t *report, struct err *e);

/* The verdict in one sentence, and whether it is good. */
bool report_verdict(struct buffer *out, const json_t *report);

#endif
