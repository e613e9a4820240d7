/* Judging a report by a policy; policy.schema.json describes one. */
#ifndef GATE_H
#define GATE_H

#include "engine/base/base.h"

#include <jansson.h>

/* Reads a policy and checks it against its schema. The caller owns *out. */
enum status policy_load(json_t **out, const char *path, struct err *e);

/* Judges a report as of a day, "2026-11-20". The caller owns the result: {"ok", "today", "cells":
 * [{suite, op, type, subject, state, asked, run, failed, skipped, waived, used, why}], "waivers":
 * [{..., state, cases}], "skips": [{..., cases}], "problems": [text]}; states of cells: pass, fail,
 * missing, skipped, waived; of waivers: used, unused, expired. */
json_t *gate_make(const json_t *report, const json_t *policy, const char *today);

/* Writes the day as of which reports are judged, "2026-11-20": text if it is not NULL, else the day
 * of $SOURCE_DATE_EPOCH, else that of the clock. */
enum status gate_today(char out[11], const char *text, struct err *e);

#endif
