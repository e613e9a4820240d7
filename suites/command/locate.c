/* assay locate: which operation of which layer is wrong first. */
#include "command/commands.h"
#include "locate/locate.h"
#include "models/prompt_tokens.h"
#include "base/options.h"
#include "reports/hash.h"
#include "reports/report.h"
#include "base/terminal.h"
#include "base/paths.h"
#include "subject/environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_help help = {
    "usage: assay locate MODEL [--subject S] [-p TEXT | --tokens ID,ID,...] [options]\n\n"
    "Runs the reference once, then the subject freely and fed with the reference's values at\n"
    "every site, and names the first operation that is wrong, apart from accumulated rounding.\n"
    "A wrong product is explained where a classic fault explains it: transposed, another\n"
    "decoder, scales, permuted heads, epsilon, mask, and so on.\n\n",
    "columns: 'free err' of the subject on its own, 'of dev' as a share of the error that the\n"
    "reference propagates to this place; 'local' error of the operation alone, fed with the\n"
    "reference's values, its bound, and the share of it that was used.\n\n"
    "examples:\n"
    "  assay locate model.gguf -p 'The capital of France is' --subject vulkan\n"
    "  assay locate model.gguf --tokens 1,5,9 --all-sites\n\n"
    "Exit status: 0 no defect, 1 a defect or an error, 2 usage, 77 no such device here.\n",
};

struct args {
    const char *model, *subject, *prompt, *tokens, *json;
    bool all_sites, brief;
    uint64_t threads;
};

static int parse(int argc, char **argv, struct args *a)
{
    const struct option_row rows[] = {
        {"subject", OPTION_TEXT, &a->subject, .argument = "S",
         .help = "cpu, vulkan[:N], cuda[:N], cuda-sim, plugin:FILE.so (default cpu)"},
        {"prompt", OPTION_TEXT, &a->prompt, .letter = 'p', .argument = "TEXT",
         .help = "the prompt (default: a short one)"},
        {"tokens", OPTION_TEXT, &a->tokens, .argument = "ID,...",
         .help = "the prompt, as token ids; nothing is added"},
        {"all-sites", OPTION_FLAG, &a->all_sites,
         .help = "a line for every site, not one per layer"},
        {"brief", OPTION_FLAG, &a->brief, .help = "prefill and decode only, no bisecting variants"},
        {"threads", OPTION_COUNT, &a->threads, .argument = "N", .min = 1, .max = 1024,
         .help = "threads of reference and CPU (default: one per core)"},
        {"report", OPTION_TEXT, &a->json, .argument = "FILE", .alias = "json",
         .help = "write a report"},
    };
    int code = options_parse(argc, argv, &help, rows, sizeof rows / sizeof *rows);
    if (code >= 0 || (code = options_one(argc, argv, "model", &a->model)) >= 0) return code;
    if (a->prompt && a->tokens) return cmd_usage("locate", "-p and --tokens exclude each other");
    return -1;
}

static void print_head(const struct args *a, const int32_t *ids, size_t n)
{
    printf("%s%s%s on %s, %zu tokens:", terminal_color("bold"), file_base(a->model),
           terminal_color("reset"), a->subject, n);
    for (size_t i = 0; i < n && i < 12; i++) printf(" %d", (int)ids[i]);
    printf("%s\n", n > 12 ? " ..." : "");
}

static enum status save(const struct args *a, const struct locate *l, struct err *e)
{
    struct report *r;
    char sha[HASH_TEXT];
    enum status st = report_open(&r, 0, e);
    if (st != ST_OK) return st;
    environment_report(r, path_vectors(NULL));
    st = hash_file(a->model, sha, e);
    if (st == ST_OK) report_model_file(r, a->model, sha);
    locate_report(r, l, a->model, a->subject);
    if (st == ST_OK) st = report_save(r, a->json, e);
    report_close(r);
    return st;
}

static enum status locate(const struct args *a, struct gguf *g, struct locate *l, struct err *e)
{
    struct engine_model *m = NULL;
    const struct subject *s = NULL;
    int32_t *ids = NULL;
    struct locate_options o = {.path = a->model,
                               .only_first = a->brief,
                               .progress = progress_show,
                               .cancel = interrupt_caught};
    enum status st = engine_model_from_gguf(&m, g, e);
    if (st == ST_OK) st = prompt_tokens(m, a->prompt, a->tokens, &ids, &o.n_tokens, e);
    engine_model_close(m);
    if (st == ST_OK) st = subject_open(&s, a->subject, e);
    if (st == ST_OK) {
        o.tokens = ids;
        print_head(a, ids, o.n_tokens);
        st = locate_run(l, g, s, &o, e);
        progress_end();
    }
    free(ids);
    return st;
}

int cmd_locate(int argc, char **argv)
{
    struct args a = {.subject = "cpu"};
    struct gguf g;
    struct locate l = {.n_variants = 0};
    struct err e = {0}, late = {0};
    int code = parse(argc, argv, &a);
    if (code >= 0) return code;
    if (subject_check(a.subject, &e) != ST_OK) return cmd_error("locate", &e);
    if (a.threads) subjects_threads((int)a.threads);
    if (gguf_open(&g, a.model, &e) != ST_OK) return cmd_error("locate", &e);
    interrupt_catch();
    enum status st = locate(&a, &g, &l, &e);
    if (st == ST_OK || l.partial) locate_print(&l, a.all_sites);
    if ((st == ST_OK || l.partial) && a.json && save(&a, &l, &late) != ST_OK && st == ST_OK) {
        st = late.st;
        e = late;
    }
    code = st != ST_OK                       ? cmd_error("locate", &e)
           : l.fault.kind == LOCATED_NOTHING ? EXIT_PASS
                                             : EXIT_FAIL;
    locate_free(&l);
    gguf_close(&g);
    return code;
}
