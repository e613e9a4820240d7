/* Localisation: which operation of which layer is wrong first. The reference runs once; a subject
 * runs freely (where do they part?) and fed with the reference's values at every site (which
 * operation is wrong?). */
#ifndef LOCATE_H
#define LOCATE_H

#include "harness/harness.h"
#include "judge/logits.h"
#include "trace/record.h"
#include "trace/site.h"
#include "subject/subject.h"

struct magnitude {
    double rms, max_abs;
    size_t nonfinite;
};

/* One site of one run. */
struct finding {
    enum site site;
    uint32_t layer;
    size_t rows, cols;
    struct magnitude want, got; /* got: running freely if that was done */
    bool has_free, has_local;
    double free_error, free_bound, free_used;
    struct case_result local; /* error, bound, used, bad, first_bad, pattern */
    char kernel[64];
};

/* A way of running the same model. */
struct variant {
    const char *name, *what;
    bool by_one, unfused, always_matmul;
    size_t n_batch; /* 0 = whole prompt */
    enum tensor_type kv;
};
enum { MAX_VARIANTS = 8 };
extern const struct variant locate_variants[];
extern const size_t locate_n_variants;

enum located { LOCATED_NOTHING, LOCATED_SITE, LOCATED_BETWEEN };

struct variant_result {
    const struct variant *variant;
    bool ran;
    char reason[256];         /* why not */
    struct finding *findings; /* (n) in the order of computation */
    size_t n;
    size_t n_missing; /* sites of the pass that were not seen, and the first of them */
    enum site missing_site;
    uint32_t missing_layer;
    enum located located;
    size_t first;       /* finding */
    enum verdict worst; /* of the top tokens, running freely */
    struct judged_top where;
    size_t where_row;
    double logits_used; /* of the propagated bound */
};

struct locate_options {
    const char *path; /* of the model, for subjects that load it themselves */
    const int32_t *tokens;
    size_t n_tokens;
    bool only_first;              /* prefill and decode only */
    enum tensor_type activations; /* of the reference, see ref_forward; TYPE_F32: exact */
    void (*progress)(const char *what, size_t done, size_t total);
    bool (*cancel)(void);
};

struct located_fault {
    enum located kind;
    size_t variant, finding;
    char op[160];       /* "matvec q4_K, 256x128" */
    char cause[200];    /* hypothesis that explains it, or "" */
    double unexplained; /* share of the error that it leaves */
    uint32_t n_layers_hit, layers_hit_first, layers_hit_last;
    bool carried[MAX_VARIANTS];
};

struct locate {
    struct site_model model;
    struct ref_model *ref; /* model.ref, where locate_free closes it; NULL: somebody else does */
    struct variant_result variants[MAX_VARIANTS];
    size_t n_variants;
    struct located_fault fault;
    /* "f16", "bf16", "q8": how the subject would have to round activations for its values to
     * conform, which fail as exact and whose precision it did not declare; NULL: no such way is
     * known. */
    const char *conforms_as;
    double conforms_used; /* then: the largest share of a bound */
    bool partial;         /* cancelled */
    char verdict[1024];
};

/* ST_OK also when a defect was found. Cancelled: ST_CANCELLED with what was done so far. */
enum status locate_run(struct locate *l, struct gguf *g, const struct subject *s,
                       const struct locate_options *o, struct err *e);
void locate_free(struct locate *l);

/* Judges what a subject gave against the reference: fills findings with the free-running part or
 * the local one. */
enum status locate_judge(struct variant_result *v, const struct recording *want,
                         const struct recording *got, bool local, struct err *e);
/* Finds the first defect and writes the sentence. May be called again when something was added. */
void locate_conclude(struct locate *l);
/* "matvec q4_K, 256x128". */
void locate_describe_op(const struct site_model *m, const struct finding *f,
                        const struct variant *v, char *out, size_t cap);
/* "layer 3, K projection", or "output projection". */
void locate_describe_place(const struct site_model *m, const struct finding *f, char *out,
                           size_t cap);

/* The table (all sites, or a line per layer and the sites that matter), the variants and the
 * verdict, on stdout. */
void locate_print(const struct locate *l, bool all_sites);

struct report;
/* A locate[] entry; model and subject as named by the user. */
void locate_report(struct report *r, const struct locate *l, const char *model,
                   const char *subject);
/* The same for a comparison by names, without sites: tensor NULL: no defect. */
void locate_report_names(struct report *r, const char *model, const char *subject,
                         const char *verdict, const char *tensor, const char *op);

#endif
