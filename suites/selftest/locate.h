/* Cases of the suite of localisation that have a file of their own. */
#ifndef LOCATE_SUITE_H
#define LOCATE_SUITE_H

#include "harness/harness.h"

/* shape: an architecture of `assay synth`. */
void locate_arch_case(struct test *t, const struct test_case *c);

/* type: of a small model's matrices. */
void locate_rounding_case(struct test *t, const struct test_case *c);

/* shape: a cause; index: its number. Names; NULL past the last. */
void locate_cause_case(struct test *t, const struct test_case *c);
const char *locate_cause(size_t i);

#endif
