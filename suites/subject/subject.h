/* A subject under test: up to three nullable levels. Suites know subjects only, never backends. */
#ifndef SUBJECT_H
#define SUBJECT_H

#include "engine/backend.h"
#include "engine/engine.h"

/* A whole evaluation: logits (n, n_vocab) of all positions of a prompt from position 0. */
struct subject_eval {
    const char *model; /* path */
    const int32_t *tokens;
    size_t n, n_vocab;
    const struct engine_probe *probe; /* NULL = none */
    float *logits;
};

struct subject {
    const char *name; /* "cpu", "vulkan:1", "reference" */
    void *ctx;
    /* n elements of blocks of type t to f32; NULL = by get_rows on ops. */
    enum status (*decode)(void *ctx, enum tensor_type t, const uint8_t *blocks, size_t n,
                          float *out, struct err *e);
    /* An opened backend with its op table, or NULL. */
    struct backend *backend;
    /* Its own evaluation, of engines from outside; NULL = by Assay's engine on the backend. gives:
     * it puts the probe's values in place of its own. */
    enum status (*eval)(void *ctx, const struct subject_eval *a, struct err *e);
    bool gives;
    const char *activations; /* precision that it declares (tracefile.h), or NULL */
};

/* A further kind of subject, named "PREFIX:REST". open fills the subject, whose name is set. */
struct subject_kind {
    const char *prefix;
    enum status (*open)(struct subject *out, const char *rest, struct err *e);
    void (*close)(struct subject *s);
};
/* k must live as long as the program. */
void subject_kind_add(const struct subject_kind *k);

/* Opens a subject by name: "reference", or a backend as in backend_check. ST_NO_DEVICE with the
 * reason when it cannot run here. Cached per process: closed by subjects_close. */
enum status subject_open(const struct subject **out, const char *name, struct err *e);
void subjects_close(void);

/* Threads of the reference and of CPU backends opened from now on; 0 = one per core. */
void subjects_threads(int n);

/* ST_USAGE, with what there is, unless the name is a subject of this program, present or not. */
enum status subject_check(const char *name, struct err *e);
/* The same for a comma list; NULL is all right. */
enum status subjects_check(const char *list, struct err *e);

/* Whether a name in the comma list is a subject from outside ("PREFIX:REST" of a subject_kind),
 * which Assay's tests of itself do not concern; NULL is not. */
bool subjects_foreign(const char *list);

/* Decodes n elements as rows of one row on the subject, by whichever level it has. */
enum status subject_decode(const struct subject *s, enum tensor_type t, const uint8_t *blocks,
                           size_t n, float *out, struct err *e);

/* Holds any subject's name: "plugin:" and a path as long as the system allows. */
enum { SUBJECT_NAME = 4096 + 16 };

/* Names of the subjects that a run covers: the comma list, or all known to this build when NULL;
 * i-th name, NULL past the last. */
const char *subject_name_at(const char *list, size_t i, char *buf, size_t cap);

#endif
