/* A JSON document that can be read at any moment. Cases are appended; all members behind them (the
 * rest) are written again at every checkpoint. A process that dies leaves the document of the last
 * checkpoint, with "complete": false. Memory holds the cases since the last checkpoint. */
#ifndef STREAM_H
#define STREAM_H

#include "engine/base/base.h"

#include <jansson.h>

struct stream;

/* head: the members in front of the cases, which never change. All cases wait in memory until
 * stream_path names a file. */
enum status stream_open(struct stream **out, json_t *head, struct err *e);
void stream_close(struct stream *s);

/* Creates the document's file now. An older file at path is replaced, not overwritten. */
enum status stream_path(struct stream *s, const char *path, json_t *rest, struct err *e);
bool stream_has_path(const struct stream *s);
/* True if the file can be written again at a checkpoint; false for a pipe, or without a file. */
bool stream_is_live(const struct stream *s);

/* Appends a case, which the next checkpoint writes. The stream owns item from then on. */
void stream_case(struct stream *s, json_t *item);

/* True if a checkpoint is worth its time: many cases wait, or some wait and the last checkpoint is
 * so long ago that checkpoints take at most a twentieth of the run. */
bool stream_is_due(const struct stream *s);
/* Writes the cases that wait, and rest. If a write failed, all later calls return its error. */
enum status stream_checkpoint(struct stream *s, json_t *rest, struct err *e);

/* The last checkpoint. A pipe or a device gets the whole document now. */
enum status stream_finish(struct stream *s, json_t *rest, struct err *e);

#endif
