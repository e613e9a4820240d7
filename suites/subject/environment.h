/* What a report says about where it was made. */
#ifndef ENVIRONMENT_H
#define ENVIRONMENT_H

#include "reports/report.h"
#include "subject/environment.h"

/* Adds to the report the SHA-256 of the manifest in the directory of the golden data, and all
 * devices that are present. */
void environment_report(struct report *r, const char *vectors);

#endif
