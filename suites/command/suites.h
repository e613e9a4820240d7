/* The suites that `assay test` has. */
#ifndef SUITES_H
#define SUITES_H

#include "harness/run.h"

/* All suites, those that judge a subject first; *n is their number. */
const struct suite *suites_all(size_t *n);

#endif
