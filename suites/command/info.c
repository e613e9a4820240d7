/* assay info: shows a model file. */
#include "command/commands.h"
#include "models/info.h"
#include "base/options.h"

#include <stdio.h>
#include <string.h>

static const struct option_help help = {
    "usage: assay info MODEL [options]\n\n"
    "Shows what a GGUF file holds: metadata, tensors, totals by type, the tokenizer, and the keys\n"
    "that the engine does not use. MODEL may be gzip-compressed; of a split model it is the first\n"
    "file, NAME-00001-of-0000N.gguf. A model that the engine cannot run is shown all the same, "
    "with\n"
    "the reason.\n\n",
    "Exit status: 0 shown, 1 the file cannot be read, 2 usage.\n",
};

struct args {
    const char *path, *json;
    bool all;
};

static int parse(int argc, char **argv, struct args *a)
{
    const struct option_row rows[] = {
        {"all", OPTION_FLAG, &a->all, .help = "arrays and texts in full"},
        {"json", OPTION_TEXT, &a->json, .argument = "FILE",
         .help = "write it as JSON too; '-' writes only that, to standard output"},
    };
    int code = options_parse(argc, argv, &help, rows, sizeof rows / sizeof *rows);
    return code >= 0 ? code : options_one(argc, argv, "model", &a->path);
}

int cmd_info(int argc, char **argv)
{
    struct args a = {0};
    int code = parse(argc, argv, &a);
    if (code >= 0) return code;
    struct err e = {0};
    struct gguf g;
    if (gguf_open(&g, a.path, &e)) return cmd_error("info", &e);
    struct info i;
    enum status st = info_gather(&i, &g, a.path, a.all, &e);
    if (!st) {
        if (!a.json || strcmp(a.json, "-") != 0) info_print(&i);
        if (a.json) st = info_write_json(&i, a.json, &e);
        info_free(&i);
    }
    gguf_close(&g);
    return st ? cmd_error("info", &e) : EXIT_PASS;
}
