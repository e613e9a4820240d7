/* assay trace: the values at the sites of a subject's pass, as a GGUF file. */
#include "command/commands.h"
#include "models/prompt_tokens.h"
#include "locate/run.h"
#include "base/options.h"
#include "base/text.h"
#include "models/source.h"
#include "subject/subject.h"
#include "trace/trace_file.h"
#include "base/terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_help help = {
    "usage: assay trace MODEL --out FILE.gguf [--subject S] [-p TEXT | --tokens ID,...] "
    "[options]\n\n"
    "Runs a subject and writes the values at the sites of its pass as a GGUF file of f32 tensors\n"
    "(NAME.gguf.gz: compressed), to be compared by 'assay compare'.\n\n",
    "Exit status: 0 written, 1 an error, 2 usage, 77 no such device here.\n",
};

struct args {
    const char *model, *subject, *prompt, *tokens, *out, *sites, *layers;
    uint64_t first, last;
    enum tensor_type kv;
    bool decode, list;
};

static bool is_wanted(void *ctx, enum site site, uint32_t layer)
{
    const struct args *a = ctx;
    if (a->sites && !list_has(a->sites, site_table[site].name)) return false;
    return site_table[site].scope == SITE_MODEL || (layer >= a->first && layer <= a->last);
}

static bool parse_layers(const char *s, struct args *a)
{
    char low[32];
    const size_t n = strcspn(s, "-");
    if (n >= sizeof low) return false;
    snprintf(low, sizeof low, "%.*s", (int)n, s);
    if (!parse_u64(low, 0, 100000, &a->first)) return false;
    a->last = a->first;
    return !s[n] || (parse_u64(s + n + 1, a->first, 100000, &a->last));
}

static int check_sites(const struct args *a)
{
    char name[32];
    for (const char *p = a->sites; list_next(&p, name, sizeof name);) {
        bool known = false;
        for (size_t i = 0; i < SITE_COUNT; i++)
            known = known || strcmp(name, site_table[i].name) == 0;
        if (!known)
            return cmd_usage("trace", "--sites: there is no site '%s' (--list names all)", name);
    }
    return -1;
}

static int parse(int argc, char **argv, struct args *a)
{
    const struct option_row rows[] = {
        {"out", OPTION_TEXT, &a->out, .argument = "FILE", .help = "where to (required)"},
        {"subject", OPTION_TEXT, &a->subject, .argument = "S",
         .help = "cpu, vulkan[:N], cuda[:N], cuda-sim, plugin:FILE.so, or reference (default cpu)"},
        {"prompt", OPTION_TEXT, &a->prompt, .letter = 'p', .argument = "TEXT",
         .help = "the prompt (default: a short one)"},
        {"tokens", OPTION_TEXT, &a->tokens, .argument = "ID,...",
         .help = "the prompt, as token ids; nothing is added"},
        {"sites", OPTION_TEXT, &a->sites, .argument = "LIST",
         .help = "sites to write, such as q,k,l_out,result_output (default: all)"},
        {"layers", OPTION_TEXT, &a->layers, .argument = "A-B",
         .help = "layers to write (default: all)"},
        {"decode", OPTION_FLAG, &a->decode, .help = "token by token, not the prompt at once"},
        {"kv", OPTION_CACHE, &a->kv, .argument = "TYPE",
         .help = "type of the KV cache (default f32)"},
        {"list", OPTION_FLAG, &a->list,
         .help = "print the sites: our name, llama.cpp's, shape and meaning"},
    };
    int code = options_parse(argc, argv, &help, rows, sizeof rows / sizeof *rows);
    if (code >= 0 || a->list) return code;
    if ((code = options_one(argc, argv, "model", &a->model)) >= 0) return code;
    if (a->layers && !parse_layers(a->layers, a))
        return cmd_usage("trace", "--layers '%s' is neither N nor A-B", a->layers);
    if (!a->out) return cmd_usage("trace", "no --out FILE given");
    if (a->prompt && a->tokens) return cmd_usage("trace", "-p and --tokens exclude each other");
    return check_sites(a);
}

/* What a site holds for each token. */
static const char *const columns_of[] = {
    [WIDTH_EMBD] = "n_embd",
    [WIDTH_Q] = "n_heads x head_dim",
    [WIDTH_KV] = "n_kv_heads x head_dim",
    [WIDTH_FF] = "n_ff",
    [WIDTH_VOCAB] = "n_vocab",
    [WIDTH_SCORES] = "n_heads x n_cells",
    [WIDTH_EXPERTS] = "n_experts",
};

static int print_list(void)
{
    static const char *const row = "%-16s %-16s %-22s %s\n";
    printf(row, "site", "llama.cpp", "values of a token", "what");
    for (size_t i = 0; i < SITE_COUNT; i++) {
        const char *layer = site_table[i].scope == SITE_LAYER ? "-L" : "";
        char name[40], theirs[40];
        snprintf(name, sizeof name, "%s%s", site_table[i].name, layer);
        snprintf(theirs, sizeof theirs, "%s%s", site_table[i].llama_name, layer);
        printf(row, name, theirs, columns_of[site_table[i].width],
               ref_site_of(NULL, (enum site)i, 0).title);
    }
    printf("\nL is the number of the layer, from 0; --sites takes names without it.\n"
           "A model has the sites that its architecture has.\n");
    return EXIT_PASS;
}

/* Notes what a subject declares to round to. Engines of this program round nothing; a plug-in may
 * declare nothing. */
static enum status declare(struct trace_info *info, const struct args *a, struct err *e)
{
    const struct subject *s = NULL;
    info->precision = (struct precision){TYPE_F32, SUM_F64, a->kv};
    info->declared = true;
    if (strcmp(a->subject, "reference") == 0) return ST_OK;
    enum status st = subject_open(&s, a->subject, e);
    if (st != ST_OK) return st;
    info->declared = !s->eval || s->activations;
    if (s->activations && !precision_by_name(s->activations, &info->precision))
        st = fail(e, ST_USAGE, "%s declares activations '%s', not f32, f16, bf16 or q8", s->name,
                  s->activations);
    return st;
}

static size_t count_wanted(const struct args *a, const struct recording *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        n += is_wanted((void *)(uintptr_t)a, r->sites[i].site, r->sites[i].layer);
    return n;
}

static enum status trace(const struct args *a, struct gguf *g, struct err *e)
{
    const struct variant how = {"trace", "", a->decode, true, false, 0, a->kv};
    struct engine_model *m = NULL;
    int32_t *ids = NULL;
    struct recording r = {.fd = -1};
    struct locate_options o = {
        .path = a->model, .progress = progress_show, .cancel = interrupt_caught};
    enum status st = engine_model_from_gguf(&m, g, e);
    if (st == ST_OK) st = prompt_tokens(m, a->prompt, a->tokens, &ids, &o.n_tokens, e);
    engine_model_close(m);
    o.tokens = ids;
    if (st == ST_OK) st = locate_capture(&r, g, a->subject, &how, &o, e);
    progress_end();
    struct trace_info info = {.tokens = ids, .n_tokens = o.n_tokens, .precision = precision_exact};
    if (st == ST_OK) st = declare(&info, a, e);
    snprintf(info.subject, sizeof info.subject, "%.120s", a->subject);
    const size_t n = st == ST_OK ? count_wanted(a, &r) : 0;
    if (st == ST_OK && n == 0)
        st = fail(e, ST_USAGE, "the pass has %zu sites, but none of those asked for", r.n);
    if (st == ST_OK) st = trace_write(&r, &info, a->out, is_wanted, (void *)(uintptr_t)a, e);
    if (st == ST_OK)
        printf("%s: %zu tensors of %zu tokens, by %s\n", a->out, n, o.n_tokens, a->subject);
    record_close(&r);
    free(ids);
    return st;
}

int cmd_trace(int argc, char **argv)
{
    struct args a = {.subject = "cpu", .last = UINT32_MAX, .kv = TYPE_F32};
    struct gguf g;
    struct err e = {0};
    int code = parse(argc, argv, &a);
    if (code >= 0) return code;
    if (a.list) return print_list();
    if (subject_check(a.subject, &e) != ST_OK) return cmd_error("trace", &e);
    if (gguf_open(&g, a.model, &e) != ST_OK) return cmd_error("trace", &e);
    interrupt_catch();
    enum status st = trace(&a, &g, &e);
    gguf_close(&g);
    return st == ST_OK ? EXIT_PASS : cmd_error("trace", &e);
}
