/* The JSON report of a run: the only way in which results become JSON. reports/schema.json declares
 * every field; names are fixed, others may be added with a new schema minor.
 * Numbers that JSON cannot hold are written as the strings "nan", "inf" and "-inf". */
#ifndef REPORT_H
#define REPORT_H

#include "reports/case.h"

#define REPORT_SCHEMA "1.2"

struct report;

/* seed: of the run. Fills tool and environment. */
enum status report_open(struct report **out, uint64_t seed, struct err *e);
void report_close(struct report *r);

/* Lets the report appear at path now and grow there; a process that dies leaves what it had done,
 * marked as not complete, and cases take no memory. Without it all is written by report_save. */
enum status report_stream(struct report *r, const char *path, struct err *e);
/* Brings the file up to date: if that is due, for loops that wait; or now. Failures are told by
 * report_save. */
void report_tick(struct report *r);
void report_checkpoint(struct report *r);

/* A device that took part ("vulkan:0") and a model file by content. Repeated ones are kept once. */
void report_device(struct report *r, const char *subject, const char *name, const char *driver,
                   const char *api, const char *features);
void report_model_file(struct report *r, const char *path, const char *sha256);
void report_vectors(struct report *r, const char *manifest_sha256);

/* Adds a case and counts it in summary and coverage. rerun: the command that repeats it. */
void report_case(struct report *r, const struct case_id *c, const struct case_result *res,
                 uint64_t seed, const char *rerun);

struct report_top {
    int32_t id;
    const char *text;
    double logit;
};

struct report_verdict {
    const char *subject, *status, *verdict, *reason; /* reason: why skipped; NULL = none */
    double used;
    int32_t top_id;
};

struct report_layer {
    uint32_t layer;
    const char *site;
    double mean, rms, max_abs;
    size_t nonfinite;
};

struct report_type {
    const char *type;
    double bits_per_weight;
    uint64_t bytes;
    const struct report_top *top;
    size_t n_top;
    double margin, kl_mean, kl_max;
    size_t same_top, prompts;
    const struct report_verdict *subjects;
    size_t n_subjects;
    const struct report_layer *layers;
    size_t n_layers;
};

/* One model's row in models[]; report_type_add adds to the last one. */
void report_model(struct report *r, const char *name, const char *sha256, const char *prompt);
void report_type_add(struct report *r, const struct report_type *t);

/* A measurement of speed. name is unique within the subject: it is what reports are compared by. */
struct report_bench {
    const char *name, *subject, *unit; /* "matvec.q4_K.4096x4096", "cpu", "GB/s" */
    double median, spread;             /* spread: half the distance between the quartiles */
    size_t samples;
    bool more_is_better;
};
void report_bench(struct report *r, const struct report_bench *b);

/* What quantizing made of one tensor: types by name, errors against its values before. */
struct report_quantized {
    const char *file, *tensor, *from, *to;
    uint64_t elements, bytes;
    double nmse, max_error;
};
void report_quantized(struct report *r, const struct report_quantized *q);

/* The run was ended before its end, and why: the report will say that it is not complete. */
void report_stopped(struct report *r, const char *why);

/* Writes what is not yet written, to the path of report_stream or else to this one. Complete
 * unless report_stopped was called. */
enum status report_save(struct report *r, const char *path, struct err *e);

#endif
