/* A JSON document that is readable at any moment: its cases are written as they come, everything
 * else (the rest) again behind them at every checkpoint. A process that dies leaves the document of
 * the last checkpoint, with "complete": false. Memory: one checkpoint's worth of cases. */
#ifndef STREAM_H
#define STREAM_H

#include "engine/base/base.h"

#include <jansson.h>

struct stream;

/* head: members that go in front of the cases and no longer change. Without a path, all cases wait
 * in memory until stream_path names one. */
enum status stream_open(struct stream **out, json_t *head, struct err *e);
void stream_close(struct stream *s);

/* Where the document goes; it appears there now. An older file is replaced, not overwritten. */
enum status stream_path(struct stream *s, const char *path, json_t *rest, struct err *e);
bool stream_has_path(const struct stream *s);
/* True if the file can be brought up to date: not a pipe. */
bool stream_is_live(const struct stream *s);

/* Takes a case over; it reaches the file with the next checkpoint. */
void stream_case(struct stream *s, json_t *item);

/* True when a checkpoint is worth its time: something waits, and the last one is long enough ago
 * that checkpoints take at most a twentieth of the run. */
bool stream_is_due(const struct stream *s);
/* Writes what waits, and rest. A failure is kept and returned by the next call, too. */
enum status stream_checkpoint(struct stream *s, json_t *rest, struct err *e);

/* The last checkpoint: pipes and devices get everything now. */
enum status stream_finish(struct stream *s, json_t *rest, struct err *e);

#endif
