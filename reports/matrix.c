/* Types by subjects; see matrix.h. */
#include "reports/matrix.h"
#include "reports/buffer.h"
#include "reports/report_json.h"

#include <ctype.h>
#include <string.h>

static void row_name(struct buffer *out, const json_t *cell)
{
    const char *type = json_text(cell, "type");
    buffer_put(out, *type ? type : json_text(cell, "suite"));
    for (size_t i = 0; *type && i < out->n; i++)
        out->data[i] = (char)toupper((unsigned char)out->data[i]);
}

static json_t *cell_of(json_t *matrix, const char *row, const char *subject)
{
    json_t *cells = json_object_get(matrix, "cells"), *line = json_object_get(cells, row);
    if (!line) {
        json_object_set_new(cells, row, line = json_object());
        json_array_append_new(json_object_get(matrix, "types"), json_string(row));
    }
    json_t *cell = json_object_get(line, subject);
    if (cell) return cell;
    cell = json_pack("{s:i, s:i, s:i, s:i, s:n, s:n}", "asked", 0, "run", 0, "skipped", 0, "failed",
                     0, "used", "reason");
    json_object_set_new(line, subject, cell);
    json_t *subjects = json_object_get(matrix, "subjects");
    bool known = false;
    for (size_t i = 0; i < json_array_size(subjects); i++)
        known = known || strcmp(json_string_value(json_array_get(subjects, i)), subject) == 0;
    if (!known) json_array_append_new(subjects, json_string(subject));
    return cell;
}

json_t *matrix_make(const json_t *report)
{
    static const char *const counts[] = {"asked", "run", "skipped", "failed"};
    json_t *matrix = json_pack("{s:[], s:[], s:{}}", "types", "subjects", "cells"), *from;
    size_t i;
    json_array_foreach(json_object_get(report, "coverage"), i, from)
    {
        struct buffer row = {0};
        const char *subject = json_text(from, "subject");
        row_name(&row, from);
        json_t *to = cell_of(matrix, row.data, *subject ? subject : "assay");
        buffer_free(&row);
        for (size_t k = 0; k < 4; k++)
            json_object_set_new(
                to, counts[k],
                json_integer(json_count(to, counts[k]) + json_count(from, counts[k])));
        json_t *used = json_object_get(from, "used");
        if (used && report_uses_more(used, json_object_get(to, "used")))
            json_object_set(to, "used", used);
        if (json_is_null(json_object_get(to, "reason")))
            json_object_set(to, "reason", json_object_get(from, "reason"));
    }
    return matrix;
}
