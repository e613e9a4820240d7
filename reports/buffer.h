/* Text that grows. Running out of memory is noted and asked for once, at the end. */
#ifndef BUFFER_H
#define BUFFER_H

#include "engine/base/base.h"

#include <jansson.h>

struct buffer {
    char *data; /* ends in 0 once something was added */
    size_t n, cap;
    bool failed;
};

void buffer_free(struct buffer *b);
void buffer_add(struct buffer *b, const char *data, size_t n);
void buffer_put(struct buffer *b, const char *s);
void buffer_print(struct buffer *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* flags: jansson's */
void buffer_json(struct buffer *b, const json_t *j, size_t flags);

/* Text inside of XML and HTML, attributes too; what XML 1.0 cannot hold becomes U+FFFD. */
void buffer_xml(struct buffer *b, const char *s);
/* Text inside of a cell of a Markdown table: no line ends, nothing that starts markup. */
void buffer_markdown(struct buffer *b, const char *s);
/* Code inside of a line of Markdown, whatever marks are in it. */
void buffer_code(struct buffer *b, const char *s);
/* A field of a CSV file, quoted if need be (RFC 4180). Text that spreadsheets would run as a formula
 * gets an apostrophe in front. */
void buffer_csv(struct buffer *b, const char *s);
/* A number of JSON for people: 4 digits, or the text that stands for one; "-" for null. */
void buffer_number(struct buffer *b, const json_t *number);

/* Writes it to a file, or to stdout if path is NULL. */
enum status buffer_save(const struct buffer *b, const char *path, struct err *e);

#endif
