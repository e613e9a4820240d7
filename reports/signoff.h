/* A release directory: all that shows what was tested, with sums, the same bytes from the same
 * inputs. */
#ifndef SIGNOFF_H
#define SIGNOFF_H

#include "engine/base/base.h"

#include <jansson.h>

struct signoff {
    const char *report_path, *policy_path;
    const json_t *report, *gate;   /* gate: of gate_make */
    const char *product, *version; /* of what is released */
    const char *const *logs;       /* files to take along */
    size_t n_logs;
};

/* Fills dir, which must not exist or be empty. */
enum status signoff_make(const char *dir, const struct signoff *s, struct err *e);
/* The one-page statement, Markdown. */
struct buffer;
void signoff_statement(struct buffer *out, const struct signoff *s);

#endif
