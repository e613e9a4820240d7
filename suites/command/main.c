/* assay: main, and the table of subcommands. */
#include "reports/build_info.h"
#include "command/commands.h"
#include "subject/subject.h"

#include <locale.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} commands[] = {
#define COMMAND(name, summary) {#name, summary, cmd_##name},
#include "command/commands.def"
#undef COMMAND
};

static void print_help(FILE *to)
{
    fprintf(to, "usage: assay COMMAND [options]\n\n"
                "Tells whether an inference engine computes what a quantized model says.\n\n"
                "commands:\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(to, "\n'assay COMMAND --help' says more. Exit status: 0 pass, 1 fail, 2 usage,\n"
                "77 nothing to run on.\n");
}

/* Memory that one case or one shader's compilation has freed is for the next, not for the system to
 * take, clear and give again: on lavapipe that is half of the time. */
static void keep_memory(void)
{
#ifdef __GLIBC__
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
#endif
}

int main(int argc, char **argv)
{
    keep_memory();
    setlocale(LC_CTYPE, "C.UTF-8");
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return EXIT_PASS;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("assay %s (%s%s)\n", build_info.version, build_info.git,
               build_info.dirty ? ", changed" : "");
        return EXIT_PASS;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name) != 0) continue;
        char name[32]; /* what messages about options begin with */
        snprintf(name, sizeof name, "assay %s", commands[i].name);
        argv[1] = name;
        int code = commands[i].run(argc - 1, argv + 1);
        subjects_close();
        if (fflush(stdout) != 0 || ferror(stdout)) {
            fprintf(stderr, "assay %s: standard output could not be written\n", commands[i].name);
            if (code == EXIT_PASS) code = EXIT_FAIL;
        }
        return code;
    }
    fprintf(stderr, "assay: there is no command '%s'; 'assay --help' lists them\n", argv[1]);
    return EXIT_USAGE;
}
