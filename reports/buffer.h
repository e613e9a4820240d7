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
/* The JSON text of j. flags: those of jansson's json_dumps. */
void buffer_json(struct buffer *b, const json_t *j, size_t flags);

/* Text inside XML and HTML, also inside attributes. Characters that XML 1.0 cannot hold become
 * U+FFFD. */
void buffer_xml(struct buffer *b, const char *s);
/* Text inside a cell of a Markdown table: line ends become spaces, markup is escaped. */
void buffer_markdown(struct buffer *b, const char *s);
/* Code inside a line of Markdown. s may contain backticks. */
void buffer_code(struct buffer *b, const char *s);
/* A field of a CSV file, quoted where RFC 4180 asks for it. Text that a spreadsheet would run as a
 * formula gets an apostrophe in front. */
void buffer_csv(struct buffer *b, const char *s);
/* A JSON number for people: four digits, the string that stands for a number, or "-" for null. */
void buffer_number(struct buffer *b, const json_t *number);

/* Writes the buffer to a file, or to stdout if path is NULL. */
enum status buffer_save(const struct buffer *b, const char *path, struct err *e);

#endif
