/* assay qualify: the main job. Takes models, puts masters into every tensor type, judges every
 * subject, prints the cross-quantization table and writes the report. */
#include "command/commands.h"
#include "models/mix.h"
#include "command/qualify_row.h"
#include "command/qualify_matrix.h"
#include "reports/hash.h"
#include "models/quantize.h"
#include "subject/subject.h"
#include "models/synth.h"
#include "base/terminal.h"
#include "base/paths.h"
#include "base/text.h"
#include "subject/environment.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const struct option_help help = {
    "usage: assay qualify [MODEL... | --all-archs | --arch LIST] [options]\n\n"
    "Judges models (GGUF; without one: primer-4m, a small trained model that comes along). A "
    "model\n"
    "in F32, F16 or BF16 is a master: it is encoded into each tensor type. A quantized model is\n"
    "taken as it is. For each type it prints what the reference computes, what the quantization\n"
    "costs against the master (KL in nats over all positions, prompts with the same top token), "
    "and\n"
    "for each subject whether it computes what the file says: the share of the error bound that\n"
    "was used, and 'tie' or 'defect' where top tokens differ.\n\n"
    "With --all-archs, small random models of every architecture ('assay synth') take the place "
    "of\n"
    "models, and the output is a matrix of architectures and types for each subject: the share of\n"
    "the error bound that was used, 'tie', 'FAIL', or 'skip'.\n\n",
    "Exit status: 0 every subject that ran conforms, 1 one does not or an error, 2 usage,\n"
    "77 no subject could run.\n",
};

enum { MAX_TYPES = 64 };

struct args {
    const char *types, *subjects, *prompts, *out, *vectors;
    const char *archs; /* a comma list; "all"; NULL: models are judged */
    uint64_t threads;
    char **models;
    size_t n_models;
};

static int parse(int argc, char **argv, struct args *a)
{
    bool all_archs = false;
    const struct option_row rows[] = {
        {"all-archs", OPTION_FLAG, &all_archs, .help = "every architecture"},
        {"arch", OPTION_TEXT, &a->archs, .argument = "LIST", .alias = "archs",
         .help = "some of them (qwen2,gemma2,gpt-oss,...)"},
        {"type", OPTION_TEXT, &a->types, .argument = "LIST", .alias = "types",
         .help = "tensor types and mixes (Q4_K,Q4_K_M,...), or all (default: every type)"},
        {"subject", OPTION_TEXT, &a->subjects, .argument = "LIST", .alias = "subjects",
         .help = "cpu, vulkan[:N], cuda[:N], cuda-sim, or all (default: cpu,vulkan,cuda)"},
        {"prompts", OPTION_TEXT, &a->prompts, .argument = "FILE",
         .help = "one prompt a line (default: 40 short ones)"},
        {"out", OPTION_TEXT, &a->out, .argument = "DIR",
         .help = "where report.json goes (default: report); a name in .json is the file"},
        {"vectors", OPTION_TEXT, &a->vectors, .argument = "DIR", .help = "golden data"},
        {"threads", OPTION_COUNT, &a->threads, .argument = "N", .min = 1, .max = 1024,
         .help = "threads of reference and CPU (default: one per core)"},
    };
    int code = options_parse(argc, argv, &help, rows, sizeof rows / sizeof *rows);
    if (code >= 0) return code;
    if (all_archs) a->archs = "all";
    a->models = argv + optind;
    a->n_models = (size_t)(argc - optind);
    if (a->archs && (a->n_models || a->prompts))
        return cmd_usage("qualify", "architectures are judged on models and prompts of their own");
    return -1;
}

/* ---- types ------------------------------------------------------------------------------- */

struct type_list {
    char names[MAX_TYPES][32];
    size_t n;
};

/* The list of --type, or every weight type from many bits to few. F32 is what masters have. */
static enum status types_of(struct type_list *l, const char *list, bool with_f32, struct err *e)
{
    struct mix m;
    l->n = 0;
    if (list && strcmp(list, "all") != 0) {
        char name[sizeof *l->names];
        while (list_next(&list, name, sizeof name)) {
            if (l->n == MAX_TYPES) return fail(e, ST_USAGE, "more than %d types", MAX_TYPES);
            memcpy(l->names[l->n], name, sizeof name);
            if (mix_find(&m, l->names[l->n++], e) != ST_OK) return e->st;
        }
        return l->n ? ST_OK : fail(e, ST_USAGE, "--type is an empty list");
    }
    for (const struct type_spec *t = type_next(NULL); t; t = type_next(t)) {
        if (t->use != USE_W || (t->id == TYPE_F32 && !with_f32)) continue;
        double bits = 8.0 * t->block_bytes / t->block_elems;
        size_t at = l->n++;
        while (at > 0) {
            const struct type_spec *before = type_by_name(l->names[at - 1]);
            if (8.0 * before->block_bytes / before->block_elems >= bits) break;
            memcpy(l->names[at], l->names[at - 1], sizeof *l->names);
            at--;
        }
        snprintf(l->names[at], sizeof *l->names, "%s", t->name);
    }
    return ST_OK;
}

static enum status check_archs(const char *list, struct err *e)
{
    char name[64];
    for (const char *p = list; list_next(&p, name, sizeof name);) {
        size_t number;
        enum status st = synth_find_arch(name, &number, e);
        if (st != ST_OK) return st;
    }
    return *list ? ST_OK : fail(e, ST_USAGE, "--arch is an empty list");
}

static bool is_master(const struct gguf *g)
{
    for (size_t i = 0; i < g->n_tensors; i++)
        if (g->tensors[i].n_dims >= 2 && g->tensors[i].type->block_elems != 1) return false;
    return true;
}

/* "as is" of a quantized model: the type of most of its matrices' bytes. */
static const char *main_type(const struct gguf *g)
{
    uint64_t bytes[TYPE_ID_END] = {0};
    int best = TYPE_F32;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        if (t->n_dims < 2) continue;
        bytes[t->type->id] += t->bytes;
        if (bytes[t->type->id] > bytes[best]) best = (int)t->type->id;
    }
    return type_by_id(best)->name;
}

/* ---- the table --------------------------------------------------------------------------- */

enum { WIDE = 106 };

/* Of the terminal; of no terminal: enough for everything. */
static size_t terminal_columns(void)
{
    struct winsize w = {0};
    if (!isatty(STDOUT_FILENO)) return WIDE;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_col == 0 ? WIDE : w.ws_col;
}

static void print_padded(const char *s, size_t width)
{
    size_t used = text_columns(s, strlen(s));
    printf("%s%*s", s, used < width ? (int)(width - used) : 0, "");
}

static void print_header(const struct qualify_row *row, bool wide)
{
    printf("%s%-9s", terminal_color("bold"), "type");
    if (wide) printf("%5s %8s  ", "bits", "size");
    printf("%-17s", "top token");
    if (wide) printf("%7s %7s  ", "logit", "margin");
    printf("%-10s %-9s", "KL vs F16", "same top");
    for (size_t i = 0; i < row->n_subjects; i++) printf(" %-11s", row->subjects[i].name);
    printf("%s\n", terminal_color("reset"));
}

static void format_size(char *out, size_t cap, uint64_t bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    double v = (double)bytes;
    size_t unit = 0;
    while (v >= 1000 && unit < 4) v /= 1000, unit++;
    snprintf(out, cap, unit ? "%.1f %s" : "%.0f %s", v, units[unit]);
}

static void print_subject(const struct qualify_subject *s)
{
    char cell[64];
    const char *paint = "green";
    if (s->verdict == VERDICT_NOT_RUN) {
        snprintf(cell, sizeof cell, "%s", s->status == CASE_SKIP ? "skip" : "error");
        paint = s->status == CASE_SKIP ? "dim" : "red";
    } else if (s->status == CASE_FAIL) {
        snprintf(cell, sizeof cell, s->verdict == VERDICT_DEFECT ? "defect" : "fail %.3gx",
                 s->judged.r.used);
        paint = "red";
    } else {
        snprintf(cell, sizeof cell, "%s %.2g%%", s->verdict == VERDICT_TIE ? "tie" : "pass",
                 100 * s->judged.r.used);
        if (s->verdict == VERDICT_TIE || s->status == CASE_MARGINAL) paint = "yellow";
    }
    printf(" %s%-11s%s", terminal_color(paint), cell, terminal_color("reset"));
}

static void print_row(const struct qualify_row *row, bool wide)
{
    char text[QUALIFY_TEXT + 32], size[32], kl[32], same[64];
    snprintf(text, sizeof text, "%d \"%s\"", row->top[0].id, row->top_text[0]);
    format_size(size, sizeof size, row->bytes);
    snprintf(kl, sizeof kl, isnan(row->kl_mean) ? "-" : "%.1e", row->kl_mean);
    snprintf(same, sizeof same, isnan(row->kl_mean) ? "-" : "%zu/%zu", row->same_top, row->prompts);
    printf("%-9s", row->type);
    if (wide) printf("%5.2f %8s  ", row->bits_per_weight, size);
    print_padded(text, 17);
    if (wide) printf("%7.2f %7.2f  ", row->top[0].logit, row->margin);
    printf("%-10s %-9s", kl, same);
    for (size_t i = 0; i < row->n_subjects; i++) print_subject(&row->subjects[i]);
    printf("\n");
    fflush(stdout);
}

/* ---- one model --------------------------------------------------------------------------- */

struct run {
    const struct args *args;
    struct type_list types;
    struct report *report;
    const char *path, *name; /* of the model */
    char again[4400];        /* its argument, for reruns */
    const char *arch;        /* of a random model; NULL: it is a file of the user's */
    char dir[4096];          /* of random models; nothing stays there */
    struct qualify_matrix *matrix;
    bool wide;
    size_t n_rows, n_ran, n_bad;
    char why_skipped[QUALIFY_SUBJECTS][320];
    size_t n_why;
};

static void note_reasons(struct run *r, const struct qualify_row *row)
{
    for (size_t i = 0; i < row->n_subjects; i++) {
        const struct qualify_subject *s = &row->subjects[i];
        r->n_ran += s->verdict != VERDICT_NOT_RUN;
        r->n_bad += s->status == CASE_FAIL;
        if (!*s->reason) continue;
        char line[320];
        size_t n = strcspn(s->name, ":+"); /* most reasons begin with the backend's name */
        bool named = strncmp(s->reason, s->name, n) == 0 && s->reason[n] == ':';
        snprintf(line, sizeof line, "%s%s%s", named ? "" : s->name, named ? "" : ": ", s->reason);
        bool known = false;
        for (size_t k = 0; k < r->n_why; k++) known = known || strcmp(r->why_skipped[k], line) == 0;
        if (!known && r->n_why < QUALIFY_SUBJECTS)
            snprintf(r->why_skipped[r->n_why++], sizeof line, "%s", line);
    }
}

static enum status judge_type(struct run *r, const struct qualify *q, const char *type,
                              struct gguf *g, struct err *e)
{
    struct qualify_row row;
    enum status st = qualify_evaluate(&row, q, type, g, e);
    if (st == ST_OK) {
        progress_end();
        if (r->arch) {
            qualify_matrix_add(r->matrix, r->arch, r->n_rows, &row);
        } else {
            if (r->n_rows == 0) print_header(&row, r->wide);
            print_row(&row, r->wide);
        }
        r->n_rows++;
        note_reasons(r, &row);
        qualify_report(r->report, &row, r->name, r->again);
    }
    qualify_row_free(&row);
    return st;
}

/* The master in a type, from the cache if it is there. The key is the content of the master and of
 * this program, which holds the encoder. */
static enum status encoded_path(char *out, size_t cap, const char *master, const char *type,
                                struct err *e)
{
    static char self[HASH_TEXT];
    char dir[4096];
    if (!*self && hash_file("/proc/self/exe", self, e) != ST_OK) return e->st;
    enum status st = path_cache(dir, sizeof dir, e);
    if (st != ST_OK) return st;
    int n = snprintf(out, cap, "%s/%.16s-%.16s-%s.gguf", dir, master, self, type);
    return n > 0 && (size_t)n < cap ? ST_OK : fail(e, ST_IO, "%s: the path is too long", dir);
}

static enum status judge_encoded(struct run *r, const struct qualify *q, const char *type,
                                 const struct gguf *master, const char *sha, struct err *e)
{
    char path[4400], label[64];
    struct gguf g;
    enum status st = ST_OK;
    if (r->arch)
        snprintf(path, sizeof path, "%s/%s", r->dir, type);
    else
        st = encoded_path(path, sizeof path, sha, type, e);
    if (st == ST_OK && access(path, R_OK) != 0) {
        snprintf(label, sizeof label, "encoding %s", type);
        struct quantize_options o = {.threads = (int)r->args->threads, .label = label};
        st = quantize_model(master, type, path, &o, e);
        progress_end();
    }
    if (st == ST_OK) st = gguf_open(&g, path, e);
    if (r->arch) remove(path);
    if (st != ST_OK) return st;
    st = judge_type(r, q, type, &g, e);
    gguf_close(&g);
    return st;
}

static enum status judge_master(struct run *r, struct qualify *q, struct gguf *g, const char *sha,
                                struct err *e)
{
    double *logits = NULL;
    enum status st = qualify_master(&logits, q->prompts, g, e);
    q->master = logits;
    for (size_t i = 0; i < r->types.n && st == ST_OK; i++) {
        if (interrupt_caught())
            st = fail(e, ST_CANCELLED, "interrupted; the report holds what was done");
        else
            st = judge_encoded(r, q, r->types.names[i], g, sha, e);
    }
    free(logits);
    return st;
}

/* Random models have no tokenizer: their prompts are random tokens, one of them longer than the
 * windows and the original context of the tiny shape. */
static enum status read_prompts(struct prompt_set *p, const struct run *r, struct gguf *g,
                                struct err *e)
{
    static const size_t lengths[] = {24, 1, 7};
    char file[4200];
    struct engine_model *m = NULL;
    enum status st = engine_model_from_gguf(&m, g, e);
    if (st != ST_OK) return fail_prefix(e, "%s", r->arch ? r->name : r->path);
    snprintf(file, sizeof file, "%s/prompts/default.txt", r->args->vectors);
    if (r->arch)
        st = prompts_random(p, 1, lengths, sizeof lengths / sizeof *lengths,
                            engine_model_shape(m).n_vocab, e);
    else
        st = prompts_read(p, r->args->prompts ? r->args->prompts : file, m, e);
    engine_model_close(m);
    return st;
}

static enum status judge_model(struct run *r, struct err *e)
{
    struct gguf g;
    struct prompt_set prompts = {.n = 0};
    char sha[HASH_TEXT] = "";
    enum status st = gguf_open(&g, r->path, e);
    if (st != ST_OK) return st;
    st = read_prompts(&prompts, r, &g, e);
    if (st == ST_OK) st = hash_file(r->path, sha, e);
    if (st == ST_OK) {
        report_model_file(r->report, r->arch ? r->name : r->path, sha);
        report_model(r->report, r->name, sha, prompts.lines[0]);
        if (!r->arch)
            printf("%s%s%s: %zu prompts, first: \"%s\"\n", terminal_color("bold"), r->name,
                   terminal_color("reset"), prompts.n, prompts.lines[0]);
        r->n_rows = 0;
        struct qualify q = {.prompts = &prompts, .subjects = r->args->subjects};
        st = is_master(&g) ? judge_master(r, &q, &g, sha, e)
                           : judge_type(r, &q, main_type(&g), &g, e);
    }
    prompts_free(&prompts);
    gguf_close(&g);
    return st;
}

/* ---- the command ------------------------------------------------------------------------- */

static enum status qualify_file(struct run *r, const char *path, struct err *e)
{
    r->path = path;
    r->name = file_base(path);
    snprintf(r->again, sizeof r->again, "'%s'", path);
    return judge_model(r, e);
}

static enum status qualify_files(struct run *r, struct err *e)
{
    char master[4200];
    snprintf(master, sizeof master, "%s/models/primer-4m-f16.gguf.gz", r->args->vectors);
    if (r->args->n_models == 0) return qualify_file(r, master, e);
    enum status st = ST_OK;
    for (size_t i = 0; i < r->args->n_models && st == ST_OK; i++) {
        if (i) printf("\n");
        st = qualify_file(r, r->args->models[i], e);
    }
    return st;
}

static enum status qualify_arch(struct run *r, const char *arch, struct err *e)
{
    char path[4200], name[64];
    struct synth_done done;
    snprintf(name, sizeof name, "%s-tiny", arch);
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    snprintf(r->again, sizeof r->again, "--arch %s", arch);
    r->path = path;
    r->name = name;
    r->arch = arch;
    const struct synth_options o = {
        .arch = arch, .shape = "tiny", .type = type_by_id(TYPE_F32), .out = path, .seed = 1};
    enum status st = synth_write(&o, &done, e);
    if (st == ST_OK) st = judge_model(r, e);
    remove(path);
    return st;
}

/* An architecture that cannot be judged at all fails in every type that is left. */
static void fail_arch(struct run *r, const char *arch, const struct err *why)
{
    struct case_id c = {.suite = "qualify", .op = "logits", .shape = arch};
    struct case_result res = {.status = CASE_FAIL, .nmse_worst_row = NAN};
    snprintf(res.message, sizeof res.message, "%.599s", why->text);
    report_case(r->report, &c, &res, 0, r->again);
    for (size_t k = r->n_rows; k < r->types.n; k++)
        qualify_matrix_fail(r->matrix, arch, k, r->types.names[k]);
    r->n_bad++;
    r->n_ran++;
    printf("%-12s %snot judged: %s%s\n", arch, terminal_color("red"), why->text,
           terminal_color("reset"));
}

static enum status judge_archs(struct run *r, struct err *e)
{
    const bool all = strcmp(r->args->archs, "all") == 0;
    for (size_t i = 0; synth_arch(i); i++) {
        const char *arch = synth_arch(i);
        if (!all && !list_has(r->args->archs, arch)) continue;
        const size_t ran = r->n_ran, bad = r->n_bad;
        struct err why = {0};
        r->n_rows = 0;
        enum status st = qualify_arch(r, arch, &why);
        if (st == ST_CANCELLED) return fail(e, st, "%s", why.text);
        if (st != ST_OK)
            fail_arch(r, arch, &why);
        else
            printf("%-12s %zu types, %zu of %zu runs conform\n", arch, r->n_rows,
                   r->n_ran - ran - (r->n_bad - bad), r->n_ran - ran);
        fflush(stdout);
    }
    return ST_OK;
}

/* A matrix has nothing to say if no subject can run: the report has their reasons. */
static bool none_can_run(struct run *r)
{
    static struct qualify_row row;
    const struct qualify q = {.subjects = r->args->subjects};
    if (qualify_can_run(&row, &q)) return false;
    note_reasons(r, &row);
    for (size_t i = 0; i < row.n_subjects; i++) {
        const struct case_id c = {
            .suite = "qualify", .op = "logits", .subject = row.subjects[i].name};
        struct case_result res = {.status = CASE_SKIP, .nmse_worst_row = NAN};
        char again[SUBJECT_NAME + 4400];
        snprintf(res.message, sizeof res.message, "%s", row.subjects[i].reason);
        snprintf(again, sizeof again, "assay qualify --arch %s --subject %s", r->args->archs,
                 row.subjects[i].name);
        report_case(r->report, &c, &res, 0, again);
    }
    return true;
}

static enum status qualify_archs(struct run *r, struct err *e)
{
    if (none_can_run(r)) return ST_OK;
    const char *base = getenv("TMPDIR");
    snprintf(r->dir, sizeof r->dir, "%.4000s/assay-qualify-XXXXXX", base && *base ? base : "/tmp");
    r->matrix = qualify_matrix_new(r->types.n);
    if (!r->matrix) return fail(e, ST_NOMEM, "no memory for a matrix");
    if (!mkdtemp(r->dir)) return fail(e, ST_IO, "%s: %s", r->dir, strerror(errno));
    enum status st = judge_archs(r, e);
    rmdir(r->dir);
    printf("\n");
    qualify_matrix_print(r->matrix, terminal_columns());
    return st;
}

static void print_footer(const struct run *r, const char *path)
{
    for (size_t i = 0; i < r->n_why; i++) printf("not run: %s\n", r->why_skipped[i]);
    if (r->n_bad)
        printf("%s%zu of %zu runs do not conform%s\n", terminal_color("red"), r->n_bad, r->n_ran,
               terminal_color("reset"));
    else if (r->n_ran)
        printf("%sall %zu runs conform%s\n", terminal_color("green"), r->n_ran,
               terminal_color("reset"));
    printf("report: %s\n", path);
}

static bool is_json(const char *out)
{
    const size_t n = strlen(out);
    return n > 5 && strcmp(out + n - 5, ".json") == 0;
}

static int check(const struct args *a, struct run *r, struct err *e)
{
    if (subjects_check(a->subjects, e) != ST_OK) return cmd_error("qualify", e);
    if (a->archs && strcmp(a->archs, "all") != 0 && check_archs(a->archs, e) != ST_OK)
        return cmd_error("qualify", e);
    if (types_of(&r->types, a->types, a->archs != NULL, e) != ST_OK) return cmd_error("qualify", e);
    if (!is_json(a->out) && path_make(a->out, e) != ST_OK) return cmd_error("qualify", e);
    return -1;
}

int cmd_qualify(int argc, char **argv)
{
    struct args a = {.out = "report"};
    int code = parse(argc, argv, &a);
    if (code >= 0) return code;
    a.vectors = path_vectors(a.vectors);
    if (a.subjects && strcmp(a.subjects, "all") == 0) a.subjects = NULL;
    struct err e = {0}, late = {0};
    struct run r = {.args = &a, .wide = terminal_columns() >= WIDE};
    code = check(&a, &r, &e);
    if (code >= 0) return code;
    if (a.threads) subjects_threads((int)a.threads);
    if (report_open(&r.report, 0, &e) != ST_OK) return cmd_error("qualify", &e);
    environment_report(r.report, a.vectors);
    interrupt_catch();
    char path[4200];
    snprintf(path, sizeof path, is_json(a.out) ? "%s" : "%s/report.json", a.out);
    enum status st = report_stream(r.report, path, &e);
    if (st == ST_OK) st = a.archs ? qualify_archs(&r, &e) : qualify_files(&r, &e);
    if (st != ST_OK) report_stopped(r.report, e.text);
    if (report_save(r.report, path, &late) == ST_OK) {
        if (r.n_ran || r.n_why) print_footer(&r, path);
    } else if (st == ST_OK) {
        st = late.st;
        e = late;
    }
    report_close(r.report);
    qualify_matrix_free(r.matrix);
    if (st != ST_OK) return cmd_error("qualify", &e);
    return r.n_bad ? EXIT_FAIL : r.n_ran ? EXIT_PASS : EXIT_NOTHING;
}
