/* assay effect: what a tensor type costs, reference against reference. */
#include "command/commands.h"
#include "judge/effect.h"
#include "engine/engine.h"
#include "models/mix.h"
#include "base/options.h"
#include "models/prompts.h"
#include "models/quantize.h"
#include "reports/hash.h"
#include "reports/report.h"
#include "subject/subject.h"
#include "trace/trace_file.h"
#include "base/terminal.h"
#include "base/paths.h"
#include "base/text.h"
#include "subject/environment.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct option_help help = {
    "usage: assay effect MASTER [--type LIST] [--text FILE] [options]\n\n"
    "Encodes a model in F32, F16 or BF16 into tensor types and says what each costs: the\n"
    "reference on the encoded model against the reference on the master, on the same text. No\n"
    "engine takes part, so none can be blamed. A type may also be a model file already "
    "encoded.\n\n",
    "KL is in nats, over all positions; intervals are at 95 %. The study takes the first type of\n"
    "the list (or the master, without --type) and compares it with itself, exactly evaluated.\n\n"
    "examples:\n"
    "  assay effect model-f16.gguf --type Q4_K_M,Q8_0 --text book.txt\n"
    "  assay effect model-f16.gguf --type Q4_K --activations f32,f16,q8 --accumulate f64,f16\n\n"
    "Exit status: 0 done, 1 an error or interrupted, 2 usage.\n",
};

enum { MAX_TYPES = 40, MAX_STUDIES = 16, STUDY_TOKENS = 64 };

struct args {
    const char *master, *types, *text, *activations, *accumulate, *json, *vectors;
    uint64_t length, max_tokens, threads;
    bool tensors;
};

struct work {
    const struct args *a;
    struct gguf g;
    struct prompt_set prompts; /* of the default text */
    int32_t *tokens;           /* of --text */
    size_t *lengths;
    struct effect effect;
    struct effect_row rows[MAX_TYPES];
    size_t n_rows;
    struct effect_precision studies[MAX_STUDIES];
    size_t n_studies;
    char study_type[64];
    char sha[HASH_TEXT];
};

static int parse(int argc, char **argv, struct args *a)
{
    const struct option_row rows[] = {
        {"type", OPTION_TEXT, &a->types, .argument = "LIST", .alias = "types",
         .help = "tensor types, mixes, files (default Q8_0,Q6_K,Q5_K,Q4_K,Q3_K,Q2_K)"},
        {"text", OPTION_TEXT, &a->text, .argument = "FILE",
         .help = "any text, cut into sequences (default: 40 short prompts)"},
        {"length", OPTION_COUNT, &a->length, .argument = "N", .min = 1, .max = 1 << 24,
         .help = "tokens of a sequence (default 128, or the model's context)"},
        {"max-tokens", OPTION_COUNT, &a->max_tokens, .argument = "N", .min = 1, .max = 1 << 24,
         .help = "of the text (default 2048)"},
        {"tensors", OPTION_FLAG, &a->tensors,
         .help = "also one tensor at a time: which ones cost most"},
        {"activations", OPTION_TEXT, &a->activations, .argument = "LIST",
         .help = "precision study: inputs of products in f32, f16, bf16, q8 (as llama.cpp does per "
                 "weight type)"},
        {"accumulate", OPTION_TEXT, &a->accumulate, .argument = "LIST",
         .help = "precision study: sums in f64, f32, f16"},
        {"vectors", OPTION_TEXT, &a->vectors, .argument = "DIR", .help = "golden data"},
        {"threads", OPTION_COUNT, &a->threads, .argument = "N", .min = 1, .max = 1024,
         .help = "(default: one per core)"},
        {"report", OPTION_TEXT, &a->json, .argument = "FILE", .alias = "json",
         .help = "write a report"},
    };
    int code = options_parse(argc, argv, &help, rows, sizeof rows / sizeof *rows);
    return code >= 0 ? code : options_one(argc, argv, "master", &a->master);
}

/* Item i of a comma list; false past the last. */
static bool item_of(const char *list, size_t i, char *out, size_t cap)
{
    for (size_t k = 0; list_next(&list, out, cap); k++)
        if (k == i) return true;
    return false;
}

/* ---- text ------------------------------------------------------------------------------------ */

/* The whole file as ids, cut into sequences; each begins with the first token of the whole if that
 * is the model's BOS. */
static enum status cut(struct work *w, const int32_t *ids, size_t n, size_t n_ctx, bool bos,
                       struct effect_text *t, struct err *e)
{
    size_t length = w->a->length ? w->a->length : 128, at = bos ? 1 : 0;
    if (length > n_ctx) length = n_ctx;
    if (n > w->a->max_tokens) n = w->a->max_tokens;
    if (n < at + 2 || length < 2)
        return fail(e, ST_FORMAT, "%s: too short a text: %zu tokens", w->a->text, n);
    const size_t step = length - at, n_seqs = (n - at + step - 1) / step;
    w->tokens = alloc_array(n + n_seqs, sizeof *w->tokens);
    w->lengths = alloc_array(n_seqs, sizeof *w->lengths);
    if (!w->tokens || !w->lengths) return fail(e, ST_NOMEM, "no memory for %zu tokens", n);
    *t = (struct effect_text){.tokens = w->tokens, .lengths = w->lengths};
    for (; at < n; at += step) {
        const size_t take = step < n - at ? step : n - at;
        if (bos) w->tokens[t->n_tokens++] = ids[0];
        memcpy(w->tokens + t->n_tokens, ids + at, take * sizeof *ids);
        t->n_tokens += take;
        w->lengths[t->n_seqs++] = take + (bos ? 1 : 0);
    }
    return ST_OK;
}

static enum status read_text(struct work *w, const struct engine_model *m, struct effect_text *t,
                             struct err *e)
{
    struct file f;
    int32_t *ids = NULL, *empty = NULL;
    size_t n = 0, n_empty = 0;
    if (!engine_tokenizer(m)) return fail(e, ST_UNSUPPORTED, "%s", engine_tokenizer_why(m));
    enum status st = file_open(&f, w->a->text, e);
    if (st != ST_OK) return st;
    const char *s = (const char *)f.bytes.data;
    st = text_check(s, f.bytes.size, e);
    if (st != ST_OK) fail_prefix(e, "%s", w->a->text);
    if (st == ST_OK)
        st = tokenize(engine_tokenizer(m), s, f.bytes.size, TOKENIZE_SPECIAL, &ids, &n, e);
    if (st == ST_OK)
        st = tokenize(engine_tokenizer(m), "", 0, TOKENIZE_SPECIAL, &empty, &n_empty, e);
    const bool bos = n_empty > 0 && n > 0 && empty[0] == ids[0];
    if (st == ST_OK) st = cut(w, ids, n, engine_model_shape(m).n_ctx, bos, t, e);
    free(ids);
    free(empty);
    file_close(&f);
    return st;
}

static enum status find_text(struct work *w, struct effect_text *t, struct err *e)
{
    struct engine_model *m = NULL;
    char path[4200];
    enum status st = engine_model_from_gguf(&m, &w->g, e);
    if (st == ST_OK && w->a->text) {
        st = read_text(w, m, t, e);
    } else if (st == ST_OK) {
        snprintf(path, sizeof path, "%s/prompts/default.txt", w->a->vectors);
        st = prompts_read(&w->prompts, path, m, e);
        *t = (struct effect_text){.tokens = w->prompts.tokens,
                                  .lengths = w->prompts.lengths,
                                  .n_seqs = w->prompts.n,
                                  .n_tokens = w->prompts.n_tokens};
    }
    engine_model_close(m);
    return st;
}

/* ---- types ----------------------------------------------------------------------------------- */

static bool is_file(const char *name)
{
    return strstr(name, ".gguf") != NULL;
}

/* Opens the model in a type: the file itself, or the master encoded, kept in the cache under the
 * content of the master and of this program. */
static enum status open_type(struct work *w, const char *type, struct gguf *out, struct err *e)
{
    static char self[HASH_TEXT];
    char dir[4096], path[4300], label[80];
    if (is_file(type)) return gguf_open(out, type, e);
    if (!*self && hash_file("/proc/self/exe", self, e) != ST_OK) return e->st;
    enum status st = path_cache(dir, sizeof dir, e);
    if (st != ST_OK) return st;
    snprintf(path, sizeof path, "%s/%.16s-%.16s-%s.gguf", dir, w->sha, self, type);
    if (access(path, R_OK) != 0) {
        snprintf(label, sizeof label, "encoding %s", type);
        const struct quantize_options o = {.threads = (int)w->a->threads, .label = label};
        st = quantize_model(&w->g, type, path, &o, e);
    }
    return st == ST_OK ? gguf_open(out, path, e) : st;
}

static void print_header(void)
{
    printf("%s%-9s%5s %16s %7s %7s %11s %6s %12s%s\n", terminal_color("bold"), "type", "bits",
           "KL mean", "p99", "max", "same top", "top 5", "ppl ratio", terminal_color("reset"));
}

static void print_row(const struct effect_row *r)
{
    static const char *const paints[] = {"green", "green", "yellow", "red"};
    printf("%-9.9s%5.2f %9.2e +-%.0e %7.1e %7.1e %5.1f+-%.1f%% %5.1f%% %.3f+-%.3f\n",
           file_base(r->type), r->bits_per_weight, r->kl.value, r->kl.high - r->kl.value, r->kl_p99,
           r->kl_max, 100 * r->top1.value, 50 * (r->top1.high - r->top1.low), 100 * r->top5,
           r->ppl_ratio.value, (r->ppl_ratio.high - r->ppl_ratio.low) / 2);
    printf("%9s%s%s%s; error after layers:", "", terminal_color(paints[r->grade]),
           effect_grade_name(r->grade), terminal_color("reset"));
    const size_t step = r->n_layers > 8 ? (r->n_layers + 7) / 8 : 1;
    for (size_t i = 0; i < r->n_layers; i += step) printf(" %.1e", r->layers[i].relative);
    printf("\n");
    for (size_t i = 0; i < r->n_tensors && i < 8; i++)
        printf("%9s%-28s %-8s KL %.2e\n", i ? "" : "  alone:", r->tensors[i].name,
               r->tensors[i].type, r->tensors[i].kl);
    fflush(stdout);
}

static enum status measure_types(struct work *w, struct err *e)
{
    const char *list = w->a->types;
    char type[256];
    enum status st = ST_OK;
    for (size_t i = 0; st == ST_OK && i < MAX_TYPES && item_of(list, i, type, sizeof type); i++) {
        struct gguf g;
        struct effect_row *row = &w->rows[w->n_rows];
        st = open_type(w, type, &g, e);
        if (st != ST_OK) break;
        st = effect_measure(row, &w->effect, type, &g, w->a->tensors, e);
        gguf_close(&g);
        progress_end();
        if (st != ST_OK) {
            effect_row_free(row);
            break;
        }
        if (w->n_rows++ == 0) print_header();
        print_row(row);
    }
    return st;
}

/* ---- the study ------------------------------------------------------------------------------- */

static enum status study(struct work *w, const struct gguf *g, struct err *e)
{
    const char *acts = w->a->activations ? w->a->activations : "none";
    const char *sums = w->a->accumulate ? w->a->accumulate : "f64";
    char act[16], sum[16];
    enum status st = ST_OK;
    printf("\n%sprecision of %s%s, against its exact evaluation:\n%-12s %-11s %9s %9s  %s\n",
           terminal_color("bold"), w->study_type, terminal_color("reset"), "activations",
           "accumulate", "KL mean", "max", "same top");
    for (size_t i = 0; st == ST_OK && item_of(acts, i, act, sizeof act); i++)
        for (size_t k = 0; st == ST_OK && item_of(sums, k, sum, sizeof sum); k++) {
            struct effect_precision *p = &w->studies[w->n_studies];
            struct precision how = precision_exact;
            if (w->n_studies == MAX_STUDIES)
                return fail(e, ST_USAGE, "more than %d combinations", MAX_STUDIES);
            precision_by_name(act, &how);
            accumulate_by_name(sum, &how.sum);
            progress_show("precision", w->n_studies, MAX_STUDIES);
            st = effect_study(p, &w->effect, g, &how, STUDY_TOKENS, e);
            progress_end();
            if (st != ST_OK) break;
            w->n_studies++;
            printf("%-12s %-11s %9.2e %9.2e  %zu of %zu\n", act, sum, p->kl_mean, p->kl_max,
                   p->same_top, p->n_positions);
            fflush(stdout);
        }
    return st;
}

static enum status study_first(struct work *w, struct err *e)
{
    struct gguf g;
    snprintf(w->study_type, sizeof w->study_type, "the master");
    if (!w->a->types) return study(w, &w->g, e);
    char type[256];
    item_of(w->a->types, 0, type, sizeof type);
    snprintf(w->study_type, sizeof w->study_type, "%.60s", type);
    enum status st = open_type(w, type, &g, e);
    if (st != ST_OK) return st;
    st = study(w, &g, e);
    gguf_close(&g);
    return st;
}

/* ---- the command ----------------------------------------------------------------------------- */

static void recommend(const struct work *w)
{
    const struct effect_row *best = NULL;
    for (size_t i = 0; i < w->n_rows; i++)
        if (w->rows[i].grade <= GRADE_GOOD &&
            (!best || w->rows[i].bits_per_weight < best->bits_per_weight))
            best = &w->rows[i];
    printf("\n%s", effect_thresholds);
    if (best)
        printf("smallest type that is good on this text: %s, %.2f bits (%s)\n", best->type,
               best->bits_per_weight, effect_grade_name(best->grade));
    else if (w->n_rows)
        printf("none of these types is good on this text\n");
}

static enum status save(const struct work *w, bool partial, struct err *e)
{
    struct report *r;
    enum status st = report_open(&r, 0, e);
    if (st != ST_OK) return st;
    environment_report(r, w->a->vectors);
    report_model_file(r, w->a->master, w->sha);
    const struct effect_document d = {.model = w->a->master,
                                      .text = w->a->text ? w->a->text : "default prompts",
                                      .n_tokens = w->effect.text.n_tokens,
                                      .rows = w->rows,
                                      .n_rows = w->n_rows,
                                      .precisions = w->studies,
                                      .n_precisions = w->n_studies,
                                      .precision_type = w->study_type,
                                      .master = &w->g,
                                      .partial = partial};
    effect_report(r, &d);
    st = report_save(r, w->a->json, e);
    report_close(r);
    return st;
}

/* What a quantized model has lost already is not in any figure. */
static void warn_of_master(const struct work *w)
{
    enum tensor_type types[TYPE_ID_END];
    const size_t n = effect_quantized(&w->g, types);
    if (n == 0) return;
    printf("%sthis master is quantized itself (", terminal_color("yellow"));
    for (size_t i = 0; i < n; i++) printf("%s%s", i ? ", " : "", type_by_id(types[i])->name);
    printf("): what follows is on top of what that has cost%s\n", terminal_color("reset"));
}

static enum status run(struct work *w, struct err *e)
{
    struct effect_text text = {.tokens = NULL};
    enum status st = find_text(w, &text, e);
    if (st == ST_OK) st = hash_file(w->a->master, w->sha, e);
    if (st == ST_OK) st = effect_open(&w->effect, &w->g, &text, interrupt_caught, progress_show, e);
    progress_end();
    if (st != ST_OK) return st;
    printf("%s%s%s: %zu tokens in %zu sequences of %s\n", terminal_color("bold"),
           file_base(w->a->master), terminal_color("reset"), text.n_tokens, text.n_seqs,
           w->a->text ? w->a->text : "short prompts");
    warn_of_master(w);
    const bool only_study = !w->a->types && (w->a->activations || w->a->accumulate);
    struct args with = *w->a;
    if (!with.types) with.types = "Q8_0,Q6_K,Q5_K,Q4_K,Q3_K,Q2_K";
    const struct args *own = w->a;
    if (!only_study) {
        w->a = &with;
        st = measure_types(w, e);
        w->a = own;
    }
    if (st == ST_OK && (own->activations || own->accumulate)) st = study_first(w, e);
    progress_end();
    if (w->n_rows) recommend(w);
    return st;
}

/* Names are checked before any work is done. */
static int check(const struct args *a)
{
    char item[256];
    struct precision p;
    struct mix m;
    struct err e = {0};
    enum site_accumulate sum;
    for (size_t i = 0; item_of(a->types, i, item, sizeof item); i++)
        if (!is_file(item) && mix_find(&m, item, &e) != ST_OK) return cmd_error("effect", &e);
    for (size_t i = 0; item_of(a->activations, i, item, sizeof item); i++)
        if (!precision_by_name(item, &p))
            return cmd_usage("effect", "--activations: '%s' is not f32, f16, bf16, q8 or none",
                             item);
    for (size_t i = 0; item_of(a->accumulate, i, item, sizeof item); i++)
        if (!accumulate_by_name(item, &sum))
            return cmd_usage("effect", "--accumulate: '%s' is not f64, f32 or f16", item);
    return -1;
}

int cmd_effect(int argc, char **argv)
{
    struct args a = {.max_tokens = 2048};
    struct err e = {0}, late = {0};
    int code = parse(argc, argv, &a);
    if (code < 0) code = check(&a);
    if (code >= 0) return code;
    a.vectors = path_vectors(a.vectors);
    if (a.threads) subjects_threads((int)a.threads);
    struct work *w = calloc(1, sizeof *w);
    if (!w) return cmd_error("effect", &(struct err){ST_NOMEM, "no memory"});
    w->a = &a;
    if (gguf_open(&w->g, a.master, &e) != ST_OK) {
        free(w);
        return cmd_error("effect", &e);
    }
    interrupt_catch();
    enum status st = run(w, &e);
    if (a.json && (st == ST_OK || st == ST_CANCELLED) && save(w, st != ST_OK, &late) != ST_OK &&
        st == ST_OK) {
        st = late.st;
        e = late;
    }
    for (size_t i = 0; i < w->n_rows; i++) effect_row_free(&w->rows[i]);
    effect_close(&w->effect);
    prompts_free(&w->prompts);
    free(w->tokens);
    free(w->lengths);
    gguf_close(&w->g);
    free(w);
    return st == ST_OK ? EXIT_PASS : cmd_error("effect", &e);
}
