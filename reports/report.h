/* Writes the JSON report of a run; nothing else writes results as JSON. reports/schema.json
 * describes the members and their meaning. A name never changes; a new member raises the schema's
 * minor number. Numbers that JSON cannot hold are written as the strings "nan", "inf" and "-inf".
 * The functions copy the strings that they are given. */
#ifndef REPORT_H
#define REPORT_H

#include "reports/case.h"

#define REPORT_SCHEMA "1.3"

struct report;

/* Makes a report that holds the tool, the environment and the seed of the run. The caller closes it
 * with report_close; NULL may be closed, too. */
enum status report_open(struct report **out, uint64_t seed, struct err *e);
void report_close(struct report *r);

/* Creates the file now and appends each case as it finishes, so that cases take no memory. A
 * process that dies leaves the cases that it had finished in a report with "complete": false.
 * Without this call, report_save writes the whole file. */
enum status report_stream(struct report *r, const char *path, struct err *e);
/* report_tick writes what the file does not have yet if enough time has passed since the last
 * write; loops that wait call it. report_checkpoint writes it at once. report_save returns the
 * error if one of these writes failed. */
void report_tick(struct report *r);
void report_checkpoint(struct report *r);

/* Adds a device that took part; subject is its name in Assay, "vulkan:0". A subject that the report
 * already has is not added again. */
void report_device(struct report *r, const char *subject, const char *name, const char *driver,
                   const char *api, const char *features);
/* Adds a model file to the environment. sha256: the hash of its bytes, 64 hex digits; a file with a
 * hash that the report already has is not added again. */
void report_model_file(struct report *r, const char *path, const char *sha256);
/* Sets the hash of the golden data's manifest, 64 hex digits. */
void report_vectors(struct report *r, const char *manifest_sha256);

/* Adds a case, and counts it in the summary and in the coverage table. seed: of the case. rerun:
 * the command that repeats the case. */
void report_case(struct report *r, const struct case_id *c, const struct case_result *res,
                 uint64_t seed, const char *rerun);

/* One of the likeliest tokens after a model's prompt. */
struct report_top {
    int32_t id;
    const char *text; /* need not be UTF-8; NULL if the model has no texts of tokens */
    double logit;
};

/* What one subject made of a model in one type. */
struct report_verdict {
    const char *subject;
    const char *status;  /* of its case: "pass", ..., as case_status_name has them */
    const char *verdict; /* agree, tie, defect or not_run */
    const char *reason;  /* why the subject did not run; NULL if it ran */
    double used;         /* largest share of a bound, 1 = the whole bound; ignored for not_run */
    int32_t top_id;      /* the subject's likeliest token; ignored for not_run */
};

/* The reference's values at one site, over all of its elements. */
struct report_layer {
    uint32_t layer;
    const char *site;
    double mean, rms, max_abs;
    size_t nonfinite; /* elements that are NaN or infinite */
};

/* A model in one type: a row of the cross-quantization table. */
struct report_type {
    const char *type;
    double bits_per_weight;
    uint64_t bytes;               /* of the model's tensors */
    const struct report_top *top; /* (n_top), the likeliest first */
    size_t n_top;
    double margin;            /* logit of the likeliest token minus that of the second */
    double kl_mean, kl_max;   /* nats, over all positions, against the master; NAN: no master */
    size_t same_top, prompts; /* prompts with the master's likeliest token, and all of them */
    const struct report_verdict *subjects;
    size_t n_subjects;
    const struct report_layer *layers;
    size_t n_layers;
};

/* Adds a model to models[]. sha256: of its file, 64 hex digits. prompt: the text whose likeliest
 * tokens the types have; NULL if it has no text. report_type_add adds a type to the model that was
 * added last. */
void report_model(struct report *r, const char *name, const char *sha256, const char *prompt);
void report_type_add(struct report *r, const struct report_type *t);

/* A measurement of speed. Reports are compared by name and subject. */
struct report_bench {
    const char *name;      /* "matvec.q4_K.4096x4096"; unique within the subject */
    const char *subject;   /* "cpu" */
    const char *unit;      /* "GB/s" */
    double median, spread; /* in this unit; spread is half the distance between the quartiles */
    size_t samples;
    bool more_is_better; /* a larger median is faster */
};
void report_bench(struct report *r, const struct report_bench *b);

/* What quantizing made of one tensor. */
struct report_quantized {
    const char *file, *tensor;
    const char *from, *to;    /* names of the types before and after */
    uint64_t elements, bytes; /* bytes: after */
    double nmse, max_error;   /* of the decoded values against those before */
};
void report_quantized(struct report *r, const struct report_quantized *q);

/* Says that the run was ended early, and why. The report will not be complete. */
void report_stopped(struct report *r, const char *why);

/* Writes what the file does not have yet: to the path of report_stream, or to this path if that was
 * not called. The report is then complete unless report_stopped was called. Returns the first error
 * of all writes. */
enum status report_save(struct report *r, const char *path, struct err *e);

#endif
