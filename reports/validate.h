/* Compares a document with its schema. */
#ifndef VALIDATE_H
#define VALIDATE_H

#include "engine/base/base.h"

#include <jansson.h>

enum { FINDINGS_MAX = 20 };

struct findings {
    size_t n; /* may exceed FINDINGS_MAX; findings beyond it have no text */
    char text[FINDINGS_MAX][400];
};

/* Adds what doc has against the schema. schema_name: the schema's embedded file, "schema.json". */
enum status validate_schema(struct findings *out, const char *schema_name, json_t *doc,
                            struct err *e);

/* Adds what the schema cannot express: a summary or coverage that is not what the cases add up to,
 * a status that contradicts the numbers beside it. */
void validate_sums(struct findings *out, const json_t *report);

#endif
