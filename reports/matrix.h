/* The matrix of a report: its coverage, summed up to tensor types by subjects. */
#ifndef MATRIX_H
#define MATRIX_H

#include <jansson.h>

/* {"types": [..], "subjects": [..], "cells": {TYPE: {SUBJECT: {asked, run, skipped, failed, used,
 * reason}}}}. Types are in upper case. Cases without a type are counted under the name of their
 * suite, cases without a subject under "assay". The caller owns the matrix. */
json_t *matrix_make(const json_t *report);

#endif
