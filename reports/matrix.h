/* Coverage summed up to tensor types (or suites without one) by subjects. */
#ifndef MATRIX_H
#define MATRIX_H

#include <jansson.h>

/* {"types": [..], "subjects": [..], "cells": {TYPE: {SUBJECT: {asked, run, skipped, failed, used,
 * reason}}}}. Types in upper case; what has no type stands under the name of its suite, what has no
 * subject under "assay". */
json_t *matrix_make(const json_t *report);

#endif
