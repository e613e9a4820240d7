/* What a report says of the machine and the program that made it. */
#ifndef REPORTS_ENVIRONMENT_H
#define REPORTS_ENVIRONMENT_H

#include <jansson.h>

/* Makes an environment with all members that the schema asks for, of which nothing is known yet.
 * The caller owns it. */
json_t *environment_unknown(void);

/* Makes the environment of this process: host, kernel, processor, compiler, flags, and the
 * libraries that the program was built with. Devices, models and golden data are still empty. The
 * caller owns it. */
json_t *environment_make(void);

/* Adds name and version of the shared objects that this process has loaded by now, drivers and
 * foreign libraries among them, to the environment's libraries. The version is the one in the
 * file's name; a file whose name has none is added without a version. */
void environment_libraries(json_t *env);

#endif
