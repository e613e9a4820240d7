/* Judging a report by a policy; policy.schema.json describes one. */
#ifndef GATE_H
#define GATE_H

#include "engine/base/base.h"

#include <jansson.h>

enum status policy_load(json_t **out, const char *path, struct err *e);

/* today: "2026-11-20". {"ok", "today", "cells": [{suite, op, type, subject, state, asked, run,
 * failed, skipped, waived, used, why}], "waivers": [{..., state, cases}], "skips": [{..., cases}],
 * "problems": [text]}; states of cells: pass, fail, missing, skipped, waived; of waivers: used,
 * unused, expired. */
json_t *gate_make(const json_t *report, const json_t *policy, const char *today);

/* From text, $SOURCE_DATE_EPOCH or the clock. */
enum status gate_today(char out[11], const char *text, struct err *e);

#endif
