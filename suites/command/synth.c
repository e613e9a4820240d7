/* assay synth: makes a model of a known architecture and shape with random weights, to measure
 * speed with, or to have something to load and to judge where nothing can be fetched. */
#include "command/commands.h"
#include "models/synth.h"
#include "base/terminal.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char help_above[] =
    "usage: assay synth --arch ARCH --shape SHAPE --type TYPE --out FILE [options]\n\n"
    "Writes a model with random weights. It has no tokenizer: it is for measuring speed, for\n"
    "loading and for judging, not for text. The same options and seed give the same file.\n\n"
    "  --arch ARCH    default llama; mixtral is a llama with experts; one of\n";

static const char help_below[] =
    "  --shape SHAPE  tiny (2 layers of 256), 1b (like TinyLlama 1.1B), 8b (like Llama 3 8B), as\n"
    "                 far as the architecture allows; ARCH-SHAPE names both: llama-8b\n"
    "  --type TYPE    tensor type of every matrix (q4_K, f16, ...); norms, biases and routers are\n"
    "                 f32; rows that do not fill the type's blocks get llama.cpp's substitute,\n"
    "                 which is said: deepseek2's attn_k_b (rows of 128) in shapes 1b and 8b\n"
    "  --out FILE     appears only when it is complete\n"
    "  --layers N     another number of layers\n"
    "  --seed N       default 1\n"
    "  -q, --quiet    no table at the end\n\n"
    "examples:\n"
    "  assay synth --shape llama-8b --type Q4_K --out llama-8b-q4_K.gguf\n"
    "  assay synth --arch gpt-oss --shape tiny --type MXFP4 --out oss.gguf\n\n"
    "Exit status: 0 written, 1 failed, 2 usage.\n";

/* The names of architectures between the two, in lines like those around them. */
static void print_help(void)
{
    enum { INDENT = 17, WIDTH = 92 };
    int at = 0;
    fputs(help_above, stdout);
    for (size_t i = 0; synth_arch(i); i++) {
        const char *name = synth_arch(i), *end = synth_arch(i + 1) ? "," : "\n";
        const bool fits = at > 0 && at + 2 + (int)strlen(name) <= WIDTH;
        if (at > 0 && !fits) putchar('\n');
        at = (fits ? at : 0) + printf("%*s%s%s", fits ? 1 : INDENT, "", name, end);
    }
    fputs(help_below, stdout);
}

struct args {
    struct synth_options o;
    const char *type;
    char arch[32]; /* of ARCH-SHAPE */
    bool quiet;
};

static int parse(int argc, char **argv, struct args *a)
{
    enum { ARCH = 256, SHAPE, TYPE, OUT, LAYERS, SEED };
    static const struct option options[] = {
        {"arch", required_argument, NULL, ARCH},
        {"shape", required_argument, NULL, SHAPE},
        {"type", required_argument, NULL, TYPE},
        {"out", required_argument, NULL, OUT},
        {"layers", required_argument, NULL, LAYERS},
        {"seed", required_argument, NULL, SEED},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    uint64_t layers = 0;
    int c;
    while ((c = getopt_long(argc, argv, "qh", options, NULL)) != -1) {
        switch (c) {
        case ARCH:
            a->o.arch = optarg;
            break;
        case SHAPE:
            a->o.shape = optarg;
            break;
        case TYPE:
            a->type = optarg;
            break;
        case OUT:
            a->o.out = optarg;
            break;
        case LAYERS:
            if (!parse_u64(optarg, 1, 1000, &layers))
                return cmd_usage("synth", "--layers '%s' is not 1 to 1000", optarg);
            a->o.layers = (uint32_t)layers;
            break;
        case SEED:
            if (!parse_u64(optarg, 0, UINT64_MAX, &a->o.seed))
                return cmd_usage("synth", "--seed '%s' is no number", optarg);
            break;
        case 'q':
            a->quiet = true;
            break;
        case 'h':
            print_help();
            return EXIT_PASS;
        default:
            return EXIT_USAGE;
        }
    }
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
