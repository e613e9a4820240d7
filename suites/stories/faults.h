/* The classic faults of inference engines, one at a time: the CPU backend behind a table that
 * forwards every operation, but for the one that is done wrongly. Subjects "story:NAME". */
#ifndef STORIES_FAULTS_H
#define STORIES_FAULTS_H

#include "subject/subject.h"

enum { EVERY_LAYER = -1 };

struct story {
    const char *name;
    const char *what;  /* the mistake, in a sentence */
    int layer;         /* in which it is made, or EVERY_LAYER */
    const char *model; /* that shows it: "primer-4m-f16" */
    /* What localisation must say. */
    enum site site;
    int seen_layer;    /* first layer named, or EVERY_LAYER: of no one layer */
    const char *cause; /* the sentence holds these words */
};
extern const struct story stories[];
extern const size_t n_stories;

/* The kind of subject to register. */
extern const struct subject_kind story_kind;

#endif
