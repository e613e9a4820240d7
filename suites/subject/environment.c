/* See environment.h. */
#include "subject/environment.h"
#include "engine/backend.h"
#include "reports/hash.h"

#include <stdio.h>

void environment_report(struct report *r, const char *vectors)
{
    char path[4096], hex[HASH_TEXT];
    struct err e = {0};
    snprintf(path, sizeof path, "%s/manifest.json", vectors);
    if (hash_file(path, hex, &e) == ST_OK) report_vectors(r, hex);
    const struct backend_ops *b;
    for (size_t i = 0; (b = backend_at(i)); i++) {
        struct device_info d = {0};
        for (uint32_t k = 0; b->describe && b->describe(k, &d, &(struct err){0}) == ST_OK; k++)
            report_device(r, d.subject, d.name, d.driver, d.api, d.features);
    }
}
