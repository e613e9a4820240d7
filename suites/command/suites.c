/* The table of suites; see suites.h. */
#include "command/suites.h"
#include "conformance/conformance.h"
#ifdef ASSAY_SELFTEST
#include "selftest/selftest.h"
#endif

const struct suite *suites_all(size_t *n)
{
    static const struct suite suites[] = {
#define SUITE(name) {#name, false, suite_##name},
#include "conformance/suites.def"
#undef SUITE
#ifdef ASSAY_SELFTEST
#define SUITE(name) {#name, true, suite_##name},
#include "selftest/suites.def"
#undef SUITE
#endif
    };
    *n = sizeof suites / sizeof *suites;
    return suites;
}
