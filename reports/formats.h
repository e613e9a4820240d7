/* The formats that a report is converted to. Each function takes a report that report_load has
 * read, appends to out, and returns ST_NOMEM if there is no memory. */
#ifndef FORMATS_H
#define FORMATS_H

#include "reports/buffer.h"

/* JUnit XML, with one testsuite per suite and one testcase per case. */
enum status format_junit(struct buffer *out, const json_t *report, struct err *e);
/* Markdown for a job summary: verdict, failures, matrix, cross-quantization table, and what was not
 * run. The text stays under a megabyte, however large the report is. */
enum status format_markdown(struct buffer *out, const json_t *report, struct err *e);
/* SARIF 2.1.0, with one result per failed case, located at the source of its operation. */
enum status format_sarif(struct buffer *out, const json_t *report, struct err *e);
/* CSV (RFC 4180), with one row per case or per measurement of speed. table is "cases" or "bench";
 * any other name is ST_USAGE. */
enum status format_csv(struct buffer *out, const json_t *report, const char *table, struct err *e);
/* SVG without script, 900 pixels wide: the verdict, and the types of the first model with their KL
 * divergences. */
enum status format_svg(struct buffer *out, const json_t *report, struct err *e);
/* HTML: one page that loads nothing else. */
enum status format_html(struct buffer *out, const json_t *report, struct err *e);

/* Appends the verdict, one sentence, to out. Returns whether the verdict is good: the report is
 * complete, something was judged, and nothing failed. */
bool report_verdict(struct buffer *out, const json_t *report);

#endif
