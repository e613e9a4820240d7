/* The table of suites; see suites.h. */
#include "command/suites.h"
#include "conformance/conformance.h"
#include "selftest/selftest.h"

const struct suite *suites_all(size_t *n)
{
    static const struct suite suites[] = {
#define SUITE(name) {#name, false, suite_##name},
#include "conformance/suites.def"
#undef SUITE
#define SUITE(name) {#name, true, suite_##name},
#include "selftest/suites.def"
#undef SUITE
    };
    *n = sizeof suites / sizeof *suites;
    return suites;
}
