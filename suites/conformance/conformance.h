/* The suites that judge a subject. */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include "harness/harness.h"

/* A suite is one row of conformance.def and this function, which adds its cases to the list. */
#define SUITE(name) void suite_##name(struct case_list *l);
#include "conformance/suites.def"
#undef SUITE

#endif
