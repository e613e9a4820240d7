/* assay quantize: encodes a model into another tensor type or mix of types. */
#include "command/commands.h"
#include "models/info.h"
#include "models/mix.h"
#include "base/options.h"
#include "models/quantize.h"
#include "reports/report.h"
#include "base/terminal.h"
#include "base/paths.h"
#include "subject/environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_help help = {
    "usage: assay quantize IN OUT --type TYPE [options]\n\n"
    "Writes the GGUF model IN to OUT with its matrices encoded in TYPE. Vectors, norms and "
    "routers\n"
    "stay as they are; rows that do not fill the type's blocks get llama.cpp's substitute. Prints\n"
    "what each tensor became and how far its values moved. OUT appears only when it is complete;\n"
    "a name that ends in .gz makes it compressed.\n\n",
    "example:\n"
    "  assay quantize model-f16.gguf model-q4.gguf --type Q4_K_M\n\n"
    "Exit status: 0 written, 1 failed, 2 usage.\n",
};

struct args {
    const char *in, *out, *type, *json;
    uint64_t threads;
    bool quiet;
};

/* What is known when the work is done. */
struct outcome {
    bool quiet;
    size_t name_width;
    const char *out;
    struct report *report; /* NULL without --report */
    uint64_t n_elems, n_encoded;
    uint64_t bytes_in, bytes_out;
    double worst_nmse;
    char worst_name[GGUF_MAX_NAME + 1];
};

static int parse(int argc, char **argv, struct args *a)
{
    const struct option_row rows[] = {
        {"type", OPTION_TEXT, &a->type, .argument = "TYPE",
         .help = "a tensor type (q4_K, iq2_xs, f16, ...) for every matrix, or one of llama.cpp's "
                 "mixes (Q4_K_M, ...); mix:Q2_K, mix:Q6_K and mix:Q8_0 are the mixes that are "
                 "called like a type. Case does not matter."},
        {"threads", OPTION_COUNT, &a->threads, .argument = "N", .min = 1, .max = 1024,
         .help = "threads (default: one per core)"},
        {"report", OPTION_TEXT, &a->json, .argument = "FILE", .alias = "json",
         .help = "write the table as a report too"},
        {"quiet", OPTION_FLAG, &a->quiet, .letter = 'q', .help = "print the totals only"},
    };
    int code = options_parse(argc, argv, &help, rows, sizeof rows / sizeof *rows);
    if (code >= 0) return code;
    if (argc - optind != 2) return cmd_usage("quantize", "two names are wanted: IN and OUT");
    if (!a->type) return cmd_usage("quantize", "--type is missing");
    a->in = argv[optind];
    a->out = argv[optind + 1];
    return -1;
}

static const char *type_name(enum tensor_type t)
{
    return type_by_id((int64_t)t)->name;
}

static void take_tensor(void *ctx, const struct quantize_tensor *t)
{
    struct outcome *o = ctx;
    bool encoded = t->from != t->to;
    size_t bytes_in = type_bytes(type_by_id((int64_t)t->from), (size_t)t->n_elems);
    o->n_elems += t->n_elems;
    o->n_encoded += encoded ? t->n_elems : 0;
    o->bytes_in += bytes_in;
    o->bytes_out += t->bytes;
    if (!(t->nmse <= o->worst_nmse)) {
        o->worst_nmse = t->nmse;
        snprintf(o->worst_name, sizeof o->worst_name, "%s", t->name);
    }
    if (o->report)
        report_quantized(o->report, &(struct report_quantized){.file = o->out,
                                                               .tensor = t->name,
                                                               .from = type_name(t->from),
                                                               .to = type_name(t->to),
                                                               .elements = t->n_elems,
                                                               .bytes = t->bytes,
                                                               .nmse = t->nmse,
                                                               .max_error = t->worst});
    if (o->quiet) return;
    progress_end();
    printf("%-*s  %-7s ", (int)o->name_width, t->name, type_name(t->from));
    if (encoded)
        printf("-> %-7s  %10.3e  %10.3e\n", type_name(t->to), t->nmse, t->worst);
    else
        printf("kept\n");
}

static void print_head(struct outcome *o, const struct gguf *g)
{
    for (size_t i = 0; i < g->n_tensors; i++) {
        if (g->tensors[i].name.len > o->name_width) o->name_width = g->tensors[i].name.len;
    }
    if (o->name_width < 6) o->name_width = 6;
    if (o->quiet) return;
    printf("%s%-*s  %-7s    %-7s  %10s  %10s%s\n", terminal_color("bold"), (int)o->name_width,
           "tensor", "from", "to", "NMSE", "max error", terminal_color("reset"));
}

static void print_totals(const struct outcome *o, const struct args *a, double seconds)
{
    printf("%s%s%s: %zu values, %zu encoded; %.2f MB at %.3f bits per value"
           " (was %.2f MB at %.3f)",
           terminal_color("bold"), a->out, terminal_color("reset"), (size_t)o->n_elems,
           (size_t)o->n_encoded, (double)o->bytes_out / 1e6,
           info_bits_per_weight(o->bytes_out, o->n_elems), (double)o->bytes_in / 1e6,
           info_bits_per_weight(o->bytes_in, o->n_elems));
    if (*o->worst_name) printf("; worst NMSE %.3e in %s", o->worst_nmse, o->worst_name);
    printf("; %.1f s\n", seconds);
}

int cmd_quantize(int argc, char **argv)
{
    struct args a = {0};
    struct outcome o = {0};
    struct gguf g;
    struct err e = {0};
    int rc = parse(argc, argv, &a);
    if (rc >= 0) return rc;
    interrupt_catch();
    if (gguf_open(&g, a.in, &e) != ST_OK) return cmd_error("quantize", &e);
    o.quiet = a.quiet;
    o.out = a.out;
    struct quantize_options options = {
        .threads = (int)a.threads, .label = a.type, .tensor = take_tensor, .ctx = &o};
    double start = now_seconds();
    struct mix mix;
    enum status st = mix_find(&mix, a.type, &e);
    if (st == ST_OK && a.json) st = report_open(&o.report, 0, &e);
    if (st == ST_OK) print_head(&o, &g);
    if (st == ST_OK) st = quantize_model(&g, a.type, a.out, &options, &e);
    double seconds = now_seconds() - start;
    if (st == ST_OK) print_totals(&o, &a, seconds);
    if (st == ST_OK && o.report) {
        environment_report(o.report, path_vectors(NULL));
        st = report_save(o.report, a.json, &e);
    }
    if (o.report) report_close(o.report);
    gguf_close(&g);
    return st == ST_OK ? EXIT_PASS : cmd_error("quantize", &e);
}
