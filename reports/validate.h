/* Is a document what its schema says? */
#ifndef VALIDATE_H
#define VALIDATE_H

#include "engine/base/base.h"

#include <jansson.h>

enum { FINDINGS_MAX = 20 };

struct findings {
    size_t n; /* also those beyond FINDINGS_MAX, which have no text */
    char text[FINDINGS_MAX][400];
};

/* schema_name: an embedded file, "schema.json". */
enum status validate_schema(struct findings *out, const char *schema_name, json_t *doc,
                            struct err *e);

/* What a schema cannot say: summary and coverage are what the cases add up to, statuses agree with
 * the numbers beside them. */
void validate_sums(struct findings *out, const json_t *report);

#endif
