/* A release directory: the files that show what was tested, and their hashes. The same inputs give
 * the same bytes. */
#ifndef SIGNOFF_H
#define SIGNOFF_H

#include "engine/base/base.h"

#include <jansson.h>

struct signoff {
    const char *report_path, *policy_path;
    const json_t *report, *gate;   /* gate: what gate_make returned */
    const char *product, *version; /* of what is released */
    const char *const *logs;       /* (n_logs): paths of files to copy */
    size_t n_logs;
};

/* Fills dir, which must be empty or not exist. */
enum status signoff_make(const char *dir, const struct signoff *s, struct err *e);
/* Appends the statement, one page of Markdown. */
struct buffer;
void signoff_statement(struct buffer *out, const struct signoff *s);

#endif
