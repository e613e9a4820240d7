/* assay compare: any two of trace, log, logits, tensors, model. */
#include "command/commands.h"
#include "judge/bounds.h"
#include "models/prompt_tokens.h"
#include "locate/foreign.h"
#include "locate/run.h"
#include "locate/tables.h"
#include "base/options.h"
#include "reports/report.h"
#include "models/source.h"
#include "base/terminal.h"
#include "base/paths.h"
#include "subject/environment.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_help help = {
    "usage: assay compare A B [-p TEXT | --tokens ID,...] [options]\n\n"
    "Compares two of: model (GGUF; stands for the reference run on it), trace (GGUF of 'assay\n"
    "trace' or of anything else; suites/locate/README.md lists the names), text log of\n"
    "llama-eval-callback (.gz too), logits as a numpy array (.npy), any GGUF of tensors.\n"
    "Against a model, bounds are derived, and every operation is judged from the inputs that the\n"
    "other side had. Without one, values may differ by a share of the site's rms.\n\n",
    "examples:\n"
    "  assay compare model.gguf trace.gguf\n"
    "  assay compare model.gguf eval-callback.log -p 'The capital of France is'\n"
    "  assay compare mine.gguf theirs.gguf --tolerance 1e-4\n\n"
    "Exit status: 0 no defect, 1 a defect or an error, 2 usage.\n",
};

struct args {
    const char *a, *b, *prompt, *tokens, *activations, *json;
    enum tensor_type kv; /* TYPE_ID_END: as the other side says */
    double tolerance;
    bool all_sites;
};

enum side_kind { SIDE_MODEL, SIDE_TRACE, SIDE_TENSORS, SIDE_LOG, SIDE_LOGITS };

struct side {
    const char *path;
    enum side_kind kind;
    struct gguf g;
    struct file file;
    struct callback_log log;
    struct npy npy;
};

static int parse(int argc, char **argv, struct args *a)
{
    const struct option_row rows[] = {
        {"prompt", OPTION_TEXT, &a->prompt, .letter = 'p', .argument = "TEXT",
         .help = "the prompt that B was run on"},
        {"tokens", OPTION_TEXT, &a->tokens, .argument = "ID,...",
         .help = "the same as token ids (default: those held in the other side)"},
        {"activations", OPTION_TEXT, &a->activations, .argument = "WAY",
         .help = "how the other engine rounds inputs of products: f32, f16, bf16, or q8 for what "
                 "llama.cpp does per weight type (default: as a trace says; q8 for a log)"},
        {"kv", OPTION_CACHE, &a->kv, .argument = "TYPE",
         .help = "its KV cache (default: as a trace or log says)"},
        {"tolerance", OPTION_NUMBER, &a->tolerance, .argument = "SHARE",
         .help = "of the rms, without a model (default 1e-3)"},
        {"all-sites", OPTION_FLAG, &a->all_sites, .help = "a line for every site"},
        {"report", OPTION_TEXT, &a->json, .argument = "FILE", .alias = "json",
         .help = "write a report"},
    };
    int code = options_parse(argc, argv, &help, rows, sizeof rows / sizeof *rows);
    struct precision p;
    if (code >= 0) return code;
    if (optind + 2 != argc) return cmd_usage("compare", "give two files");
    if (a->prompt && a->tokens) return cmd_usage("compare", "-p and --tokens exclude each other");
    if (a->activations && !precision_by_name(a->activations, &p))
        return cmd_usage("compare", "--activations '%s' is not f32, f16, bf16, q8 or none",
                         a->activations);
    a->a = argv[optind];
    a->b = argv[optind + 1];
    return -1;
}

/* ---- sides ----------------------------------------------------------------------------------- */

static enum status open_gguf(struct side *s, struct err *e)
{
    enum status st = gguf_open(&s->g, s->path, e);
    if (st != ST_OK) return st;
    const struct gguf_kv *arch = gguf_find(&s->g, "general.architecture");
    s->kind = trace_is(&s->g) ? SIDE_TRACE : SIDE_TENSORS;
    if (arch && gguf_find_tensor(&s->g, "token_embd.weight")) s->kind = SIDE_MODEL;
    return ST_OK;
}

static enum status open_side(struct side *s, const char *path, struct err *e)
{
    *s = (struct side){.path = path};
    enum status st = file_open(&s->file, path, e);
    if (st != ST_OK) return st;
    const struct span bytes = s->file.bytes;
    if (bytes.size >= 4 && memcmp(bytes.data, "GGUF", 4) == 0) {
        file_close(&s->file);
        s->file = (struct file){.map = NULL};
        return open_gguf(s, e);
    }
    if (npy_is(bytes)) {
        s->kind = SIDE_LOGITS;
        st = npy_read(&s->npy, bytes, e);
    } else if (callback_log_is(bytes)) {
        s->kind = SIDE_LOG;
        st = callback_log_read(&s->log, bytes, e);
    } else {
        st = fail(e, ST_FORMAT, "neither GGUF nor a numpy array nor a log of llama-eval-callback");
    }
    return st == ST_OK ? ST_OK : fail_prefix(e, "%s", path);
}

static void close_side(struct side *s)
{
    if (s->kind <= SIDE_TENSORS && s->g.n_tensors) gguf_close(&s->g);
    callback_log_free(&s->log);
    free(s->npy.values);
    file_close(&s->file);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

/* Given, or held by the other side, or one's own. */
static enum status find_tokens(const struct args *a, struct gguf *model, const struct side *other,
                               int32_t **ids, size_t *n, struct err *e)
{
    struct engine_model *m = NULL;
    struct trace_info info = {.tokens = NULL};
    enum status st = engine_model_from_gguf(&m, model, e);
    if (st == ST_OK && !a->prompt && !a->tokens && other->kind == SIDE_TRACE)
        st = trace_read_info(&info, &other->g, e);
    if (st == ST_OK && info.tokens) {
        *ids = info.tokens;
        *n = info.n_tokens;
        for (size_t i = 0; i < *n && st == ST_OK; i++)
            if ((uint32_t)(*ids)[i] >= engine_model_shape(m).n_vocab)
                st = fail(e, ST_FORMAT, "assay.trace.tokens: %d is not in the vocabulary",
                          (int)(*ids)[i]);
    } else if (st == ST_OK) {
        trace_info_free(&info);
        st = prompt_tokens(m, a->prompt, a->tokens, ids, n, e);
    }
    engine_model_close(m);
    return st;
}

static struct precision declared(const struct args *a, const struct side *s,
                                 const struct trace_info *t)
{
    struct precision p = precision_exact;
    if (s->kind == SIDE_LOG) {
        p.activations = TYPE_ID_END;
        p.kv = s->log.kv;
    }
    if (t) p = t->precision;
    if (a->activations) precision_by_name(a->activations, &p);
    if (a->kv != TYPE_ID_END) p.kv = a->kv;
    return p;
}

/* ---- against a model ------------------------------------------------------------------------- */

static enum status record_logits(struct recording *out, const struct side *s,
                                 const struct ref_shape *shape, size_t n_tokens, struct err *e)
{
    if (s->npy.cols != shape->n_vocab || s->npy.rows > n_tokens)
        return fail(e, ST_FORMAT,
                    "%s: %zu x %zu values, not the logits of %zu tokens and a vocabulary of %u",
                    s->path, s->npy.rows, s->npy.cols, n_tokens, shape->n_vocab);
    enum status st = record_open(out, shape->n_layers, shape->n_heads, n_tokens, e);
    if (st != ST_OK) return st;
    record_add(out, SITE_LOGITS, 0, s->npy.rows, s->npy.cols, n_tokens - s->npy.rows);
    if (out->err.st != ST_OK) return fail(e, out->err.st, "%s", out->err.text);
    memcpy(out->sites[0].got, s->npy.values, s->npy.rows * s->npy.cols * sizeof(float));
    for (size_t i = 0; i < s->npy.rows; i++) out->sites[0].filled[i] = true;
    return ST_OK;
}

/* What the other side gave, but for logs. */
static enum status record_side(struct recording *got, struct side *s, const struct site_model *m,
                               struct trace_info *info, const struct compare_options *o,
                               struct err *e)
{
    const struct trace_shape shape = {m->shape.n_layers, m->shape.n_heads, m->hyper.kq_scale, m};
    const struct variant how = {"model", "", false, true, false, 0, TYPE_F32};
    const struct locate_options lo = {
        .tokens = o->tokens, .n_tokens = o->n_tokens, .progress = o->progress, .cancel = o->cancel};
    enum status st;
    switch (s->kind) {
    case SIDE_TRACE:
        st = trace_read(got, info, &s->g, &shape, e);
        if (st == ST_OK && info->n_tokens != o->n_tokens)
            return fail(e, ST_FORMAT, "%s holds %zu tokens, the prompt has %zu", s->path,
                        info->n_tokens, o->n_tokens);
        return st == ST_OK ? ST_OK : fail_prefix(e, "%s", s->path);
    case SIDE_MODEL:
        return locate_capture(got, &s->g, "reference", &how, &lo, e);
    case SIDE_LOGITS:
        return record_logits(got, s, &m->shape, o->n_tokens, e);
    case SIDE_TENSORS:
    case SIDE_LOG:
        break;
    }
    return fail(e, ST_USAGE, "%s holds no values of a pass: nothing to compare with a model",
                s->path);
}

static enum status against_model(const struct args *a, struct side *model, struct side *other,
                                 struct locate *l, struct err *e)
{
    struct ref_model *ref = NULL;
    struct recording truth = {.fd = -1}, got = {.fd = -1};
    struct trace_info info = {.precision = precision_exact};
    struct compare_options o = {.progress = progress_show, .cancel = interrupt_caught};
    int32_t *ids = NULL;
    const bool is_log = other->kind == SIDE_LOG;
    enum status st = find_tokens(a, &model->g, other, &ids, &o.n_tokens, e);
    if (st == ST_OK) st = source_open(&ref, &model->g, e);
    if (st == ST_OK) {
        l->model = site_model_of(&model->g, ref);
        o.tokens = ids;
        if (!is_log) st = record_side(&got, other, &l->model, &info, &o, e);
    }
    o.precision = declared(a, other, other->kind == SIDE_TRACE ? &info : NULL);
    if (st == ST_OK) st = foreign_truth(&truth, &l->model, &o, is_log, e);
    progress_end();
    if (st == ST_OK)
        st = is_log ? foreign_log(l, &truth, &other->log, &o, e)
                    : foreign_recording(l, &truth, &got, &o, e);
    if (st == ST_OK && !a->activations && !info.declared &&
        (other->kind == SIDE_TRACE || other->kind == SIDE_LOGITS))
        st = foreign_undeclared(l, &truth, &got, &o, e);
    progress_end();
    record_close(&truth);
    record_close(&got);
    trace_info_free(&info);
    l->ref = ref;
    free(ids);
    return st;
}

/* ---- without a model ------------------------------------------------------------------------- */

/* Layers and heads of a trace, from the names and shapes of its tensors. */
static struct trace_shape guess_shape(const struct gguf *g)
{
    struct trace_shape shape = {0, 1, 1, NULL};
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        enum site site;
        uint32_t layer;
        if (!trace_name(t->name.data, t->name.len, t->n_dims, &site, &layer)) continue;
        if (layer >= shape.n_layers) shape.n_layers = layer + 1;
        if (site_table[site].width == WIDTH_SCORES && t->n_dims >= 3)
            shape.n_heads = (uint32_t)t->dims[2];
        else if (site_table[site].width == WIDTH_SCORES && t->dims[1] > 0)
            shape.n_heads = (uint32_t)(t->dims[0] / t->dims[1]);
    }
    return shape;
}

static enum status two_traces(const struct args *a, struct side *x, struct side *y,
                              struct locate *l, struct err *e)
{
    struct recording rx = {.fd = -1}, ry = {.fd = -1};
    struct trace_info ix = {.tokens = NULL}, iy = {.tokens = NULL};
    const struct trace_shape shape = guess_shape(&x->g);
    enum status st = trace_read(&rx, &ix, &x->g, &shape, e);
    if (st == ST_OK) st = trace_read(&ry, &iy, &y->g, &shape, e);
    if (st == ST_OK && rx.n_tokens != ry.n_tokens)
        st = fail(e, ST_FORMAT, "%s holds %zu tokens, %s %zu", x->path, rx.n_tokens, y->path,
                  ry.n_tokens);
    l->model.shape.n_layers = shape.n_layers;
    if (st == ST_OK) st = foreign_pair(l, &rx, &ry, a->tolerance, e);
    record_close(&rx);
    record_close(&ry);
    trace_info_free(&ix);
    trace_info_free(&iy);
    return st;
}

/* ---- tensors and logs by name ---------------------------------------------------------------- */

struct by_name {
    char verdict[1024];
    char tensor[80], op[24]; /* the first that differs; "" = none */
};

static enum status compare_tables(struct by_name *r, const struct args *a, struct side *x,
                                  struct side *y, struct err *e)
{
    struct tables k = {.tolerance = a->tolerance, .all = a->all_sites};
    enum status st = x->kind == SIDE_LOGITS ? tables_arrays(&k, &x->npy, &y->npy, e)
                                            : tables_tensors(&k, &x->g, &y->g, e);
    if (st == ST_OK && k.n == 0) st = fail(e, ST_FORMAT, "the two have no tensor in common");
    if (st != ST_OK) return st;
    if (k.n_bad == 0) {
        snprintf(r->verdict, sizeof r->verdict,
                 "NO DEFECT: %zu tensors agree within %.3g of their rms", k.n, a->tolerance);
        return ST_OK;
    }
    snprintf(r->tensor, sizeof r->tensor, "%.*s", (int)strcspn(k.first, ":"), k.first);
    snprintf(r->verdict, sizeof r->verdict,
             "DEFECT: %s; %zu of %zu tensors differ by more than %.3g of their rms", k.first,
             k.n_bad, k.n, a->tolerance);
    return ST_OK;
}

/* How much of what may differ does, at most; NaN where one of the two is no number. */
static double log_used(const struct log_tensor *s, const struct log_tensor *t, double bound,
                       double n_summed)
{
    double used = 0;
    for (size_t k = 0; k <= s->n; k++) {
        const bool sum = k == s->n;
        const double a = sum ? s->sum : s->values[k], b = sum ? t->sum : t->values[k];
        const double off = a == b || (isnan(a) && isnan(b)) ? 0 : fabs(a - b);
        const double share = off / (sum ? bound * n_summed : bound);
        if (sum && (!s->has_sum || !t->has_sum)) break;
        if (!(share <= used)) used = share;
        if (isnan(used)) break;
    }
    return used;
}

/* Two logs: the first tensor of the same name and place that differs. */
static enum status compare_logs(struct by_name *r, const struct args *a, const struct side *x,
                                const struct side *y, struct err *e)
{
    const size_t n = x->log.n < y->log.n ? x->log.n : y->log.n;
    for (size_t i = 0; i < n; i++) {
        const struct log_tensor *s = &x->log.tensors[i], *t = &y->log.tensors[i];
        if (strcmp(s->name, t->name) != 0 || memcmp(s->dims, t->dims, sizeof s->dims) != 0)
            return fail(e, ST_FORMAT, "the logs part at %s (line %zu) and %s (line %zu)", s->name,
                        s->line, t->name, t->line);
        double sum = 0, all = 1;
        for (size_t k = 0; k < s->n; k++)
            sum += isfinite(s->values[k]) ? s->values[k] * s->values[k] : 0;
        for (size_t d = 0; d < 4; d++) all *= (double)s->dims[d];
        const double bound = bound_log_share(a->tolerance, sqrt(sum / (double)s->n));
        const double used = log_used(s, t, bound, x->log.sums_all ? all : (double)s->n);
        if (used <= 1) continue;
        snprintf(r->tensor, sizeof r->tensor, "%s", s->name);
        snprintf(r->op, sizeof r->op, "%s", s->op);
        char by[48] = "a number in one is none in the other";
        if (isfinite(used)) snprintf(by, sizeof by, "by %.3g x %.3g", used, bound);
        snprintf(r->verdict, sizeof r->verdict,
                 "DEFECT: %s (%s) is the first to differ: %s; lines %zu and %zu", s->name, s->op,
                 by, s->line, t->line);
        return ST_OK;
    }
    if (x->log.n != y->log.n)
        return fail(e, ST_FORMAT, "%s ends after %zu tensors, which agree; %s has %zu",
                    x->log.n == n ? x->path : y->path, n, x->log.n == n ? y->path : x->path,
                    x->log.n == n ? y->log.n : x->log.n);
    snprintf(r->verdict, sizeof r->verdict, "NO DEFECT: %zu tensors agree within %.3g of their rms",
             n, a->tolerance);
    return ST_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

/* By sites, or else by names. */
static enum status save(const struct args *a, const struct locate *l, const struct by_name *n,
                        struct err *e)
{
    struct report *r;
    enum status st = report_open(&r, 0, e);
    if (st != ST_OK) return st;
    environment_report(r, path_vectors(NULL));
    if (l)
        locate_report(r, l, a->a, a->b);
    else
        locate_report_names(r, a->a, a->b, n->verdict, *n->tensor ? n->tensor : NULL, n->op);
    st = report_save(r, a->json, e);
    report_close(r);
    return st;
}

static int run_by_name(const struct args *a, struct side *x, struct side *y)
{
    struct by_name r = {.verdict = ""};
    struct err e = {0};
    enum status st =
        x->kind == SIDE_LOG ? compare_logs(&r, a, x, y, &e) : compare_tables(&r, a, x, y, &e);
    if (st == ST_OK)
        printf("%s%s%s\n", terminal_color(*r.tensor ? "red" : "green"), r.verdict,
               terminal_color("reset"));
    if (st == ST_OK && a->json) st = save(a, NULL, &r, &e);
    if (st != ST_OK) return cmd_error("compare", &e);
    return *r.tensor ? EXIT_FAIL : EXIT_PASS;
}

static int run(const struct args *a, struct side *x, struct side *y)
{
    struct locate l = {.n_variants = 0};
    struct err e = {0}, late = {0};
    enum status st;
    if (x->kind == SIDE_MODEL)
        st = against_model(a, x, y, &l, &e);
    else if (y->kind == SIDE_MODEL)
        st = against_model(a, y, x, &l, &e);
    else if (x->kind == SIDE_TRACE && y->kind == SIDE_TRACE)
        st = two_traces(a, x, y, &l, &e);
    else if (x->kind == y->kind || (x->kind <= SIDE_TENSORS && y->kind <= SIDE_TENSORS))
        return run_by_name(a, x, y);
    else
        return cmd_usage("compare", "%s and %s hold different things: compare each with the model",
                         x->path, y->path);
    l.partial = st == ST_CANCELLED;
    if (l.partial) locate_conclude(&l);
    if (st == ST_OK || l.partial) locate_print(&l, a->all_sites);
    if ((st == ST_OK || l.partial) && a->json && save(a, &l, NULL, &late) != ST_OK && st == ST_OK) {
        st = late.st;
        e = late;
    }
    const int code = l.fault.kind == LOCATED_NOTHING ? EXIT_PASS : EXIT_FAIL;
    locate_free(&l);
    return st == ST_OK ? code : cmd_error("compare", &e);
}

int cmd_compare(int argc, char **argv)
{
    struct args a = {.kv = TYPE_ID_END, .tolerance = bound_share_default()};
    struct side x = {.path = NULL}, y = {.path = NULL};
    struct err e = {0};
    int code = parse(argc, argv, &a);
    if (code >= 0) return code;
    interrupt_catch();
    enum status st = open_side(&x, a.a, &e);
    if (st == ST_OK) st = open_side(&y, a.b, &e);
    code = st == ST_OK ? run(&a, &x, &y) : cmd_error("compare", &e);
    close_side(&x);
    close_side(&y);
    return code;
}
