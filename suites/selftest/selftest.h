/* The suites that judge Assay itself: its reference, its encoders, its container, its reports. */
#ifndef SELFTEST_H
#define SELFTEST_H

#include "harness/harness.h"

/* A suite is one row of selftest.def and this function, which adds its cases to the list. */
#define SUITE(name) void suite_##name(struct case_list *l);
#include "selftest/suites.def"
#undef SUITE

#endif
