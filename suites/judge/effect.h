/* The second verdict: what a tensor type costs, reference against reference, with intervals. No
 * engine can be blamed for it. */
#ifndef EFFECT_H
#define EFFECT_H

#include "engine/gguf/gguf.h"
#include "trace/site.h"

/* Sequences that the models are judged on. */
struct effect_text {
    const int32_t *tokens; /* all sequences, one after the other */
    const size_t *lengths; /* (n_seqs) */
    size_t n_seqs, n_tokens;
};

/* A value and the ends of its 95 % interval. */
struct interval {
    double value, low, high;
};

struct effect_layer {
    uint32_t layer;
    double relative; /* rms of the difference after the layer, over the rms */
};

struct effect_tensor {
    char name[64], type[16];
    double kl; /* mean, with this tensor alone in the other type */
};

enum effect_grade { GRADE_SAME, GRADE_GOOD, GRADE_LOSS, GRADE_UNUSABLE };

struct effect_row {
    char type[32];
    double bits_per_weight;
    size_t n_positions;
    struct interval kl, top1, ppl_ratio; /* top1: share of positions with the same top token */
    double kl_p99, kl_max, top5;         /* top5: mean overlap of the five likeliest */
    double ppl, master_ppl;
    enum effect_grade grade;
    struct effect_layer *layers; /* (n_layers) */
    size_t n_layers;
    struct effect_tensor *tensors; /* (n_tensors) the costliest first; NULL: not measured */
    size_t n_tensors;
};

/* What a step of precision costs on one model: against the same model, exactly evaluated. */
struct effect_precision {
    struct precision how;
    double kl_mean, kl_max;
    size_t same_top, n_positions;
};

struct effect {
    const struct gguf *master;
    struct effect_text text;
    float *logits; /* of the master, (n_tokens, n_vocab) */
    size_t n_vocab;
    bool (*cancel)(void);
    void (*progress)(const char *what, size_t done, size_t total);
};

/* Evaluates the master; text and master must outlive it. */
enum status effect_open(struct effect *x, const struct gguf *master, const struct effect_text *text,
                        bool (*cancel)(void),
                        void (*progress)(const char *what, size_t done, size_t total),
                        struct err *e);
void effect_close(struct effect *x);

/* Judges a model of the same shape. tensors: also one tensor at a time. */
enum status effect_measure(struct effect_row *row, struct effect *x, const char *type,
                           const struct gguf *g, bool tensors, struct err *e);
void effect_row_free(struct effect_row *row);

/* The model g at a lower precision, on as many tokens as fit into max_tokens. */
enum status effect_study(struct effect_precision *p, const struct effect *x, const struct gguf *g,
                         const struct precision *how, size_t max_tokens, struct err *e);

const char *effect_grade_name(enum effect_grade g);
/* The thresholds, as lines to print. */
extern const char effect_thresholds[];
/* "f64", "f32", "f16"; false: none of them. */
bool accumulate_by_name(const char *name, enum site_accumulate *out);
const char *accumulate_name(enum site_accumulate a);

/* Quantized types of a model's tensors, each once, in the order of the file. Returns how many there
 * are, at most TYPE_ID_END; 0: the model is a master indeed. */
size_t effect_quantized(const struct gguf *g, enum tensor_type types[TYPE_ID_END]);

struct report;
struct effect_document {
    const char *model, *text;
    size_t n_tokens;
    const struct effect_row *rows;
    size_t n_rows;
    const struct effect_precision *precisions;
    size_t n_precisions;
    const char *precision_type;
    const struct gguf *master;
    bool partial;
};
/* An effect[] entry. */
void effect_report(struct report *r, const struct effect_document *d);

#endif
