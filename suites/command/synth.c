/* assay synth: makes a model of a known architecture and shape with random weights, to measure
 * speed with, or to have something to load and to judge where nothing can be fetched. */
#include "command/commands.h"
#include "models/synth.h"
#include "base/terminal.h"

#include <stdio.h>
#include <string.h>

static const struct option_help help = {
    "usage: assay synth --arch ARCH --shape SHAPE --type TYPE --out FILE [options]\n\n"
    "Writes a model with random weights. It has no tokenizer: it is for measuring speed, for\n"
    "loading and for judging, not for text. The same options and seed give the same file.\n\n",
    "examples:\n"
    "  assay synth --shape llama-8b --type Q4_K --out llama-8b-q4_K.gguf\n"
    "  assay synth --arch gpt-oss --shape tiny --type MXFP4 --out oss.gguf\n\n"
    "Exit status: 0 written, 1 failed, 2 usage.\n",
};

/* What --arch takes, from the rows. */
static void list_archs(char *out, size_t cap)
{
    int at = snprintf(out, cap, "default llama; mixtral is a llama with experts; one of ");
    for (size_t i = 0; synth_arch(i) && at > 0 && (size_t)at < cap; i++)
        at += snprintf(out + at, cap - (size_t)at, "%s%s", i ? ", " : "", synth_arch(i));
}

struct args {
    struct synth_options o;
    const char *type;
    char arch[32]; /* of ARCH-SHAPE */
    bool quiet;
};

static int parse(int argc, char **argv, struct args *a)
{
    char archs[2048];
    uint64_t layers = 0;
    list_archs(archs, sizeof archs);
    const struct option_row rows[] = {
        {"arch", OPTION_TEXT, &a->o.arch, .argument = "ARCH", .help = archs},
        {"shape", OPTION_TEXT, &a->o.shape, .argument = "SHAPE",
         .help =
             "tiny (2 layers of 256), 1b (like TinyLlama 1.1B), 8b (like Llama 3 8B), as far as "
             "the architecture allows; ARCH-SHAPE names both: llama-8b"},
        {"type", OPTION_TEXT, &a->type, .argument = "TYPE",
         .help = "tensor type of every matrix (q4_K, f16, ...); norms, biases and routers are f32; "
                 "rows that do not fill the type's blocks get llama.cpp's substitute, which is "
                 "said: deepseek2's attn_k_b (rows of 128) in shapes 1b and 8b"},
        {"out", OPTION_TEXT, &a->o.out, .argument = "FILE",
         .help = "appears only when it is complete"},
        {"layers", OPTION_COUNT, &layers, .argument = "N", .min = 1, .max = 1000,
         .help = "another number of layers"},
        {"seed", OPTION_COUNT, &a->o.seed, .argument = "N", .max = UINT64_MAX, .help = "default 1"},
        {"quiet", OPTION_FLAG, &a->quiet, .letter = 'q', .help = "no table at the end"},
    };
    int code = options_parse(argc, argv, &help, rows, sizeof rows / sizeof *rows);
    if (code >= 0) return code;
    a->o.layers = (uint32_t)layers;
    if (optind != argc) return cmd_usage("synth", "what is '%s'?", argv[optind]);
    if (!a->o.shape || !a->type || !a->o.out)
        return cmd_usage("synth", "--shape, --type and --out are wanted");
    return -1;
}

/* "llama-8b" as shape means the architecture too. */
static int split_shape(struct args *a)
{
    const char *dash = strrchr(a->o.shape, '-');
    if (dash) {
        snprintf(a->arch, sizeof a->arch, "%.*s", (int)(dash - a->o.shape), a->o.shape);
        if (a->o.arch && strcmp(a->o.arch, a->arch) != 0)
            return cmd_usage("synth", "--arch %s and --shape %s are not of the same architecture",
                             a->o.arch, a->o.shape);
        a->o.arch = a->arch;
        a->o.shape = dash + 1;
    }
    if (!a->o.arch) a->o.arch = "llama";
    return -1;
}

int cmd_synth(int argc, char **argv)
{
    struct args a = {.o = {.seed = 1, .progress = true}};
    struct synth_done done;
    struct err e = {0};
    int rc = parse(argc, argv, &a);
    if (rc < 0) rc = split_shape(&a);
    if (rc >= 0) return rc;
    a.o.type = type_by_name(a.type);
    if (!a.o.type || a.o.type->use != USE_W)
        return cmd_usage("synth", "'%s' is no type for matrices", a.type);
    interrupt_catch();
    if (synth_write(&a.o, &done, &e) != ST_OK) return cmd_error("synth", &e);
    if (a.quiet) return EXIT_PASS;
    printf("%s: %s-%s, %u layers, %s, %zu weights, %.3f GiB\n", a.o.out, a.o.arch, a.o.shape,
           done.layers, a.o.type->name, done.weights, (double)done.bytes / 0x1p30);
    if (done.n_other)
        printf("%zu matrices are %s: their rows do not fill blocks of %s\n", done.n_other,
               type_by_id((int64_t)done.other)->name, a.o.type->name);
    return EXIT_PASS;
}
