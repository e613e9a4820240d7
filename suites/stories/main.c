/* The stories: each classic fault is built into the CPU engine and must be found and named by
 * localisation. Also runs `locate` on them, as the README shows it. */
#include "stories/faults.h"
#include "locate/locate.h"
#include "models/prompt_tokens.h"
#include "base/paths.h"
#include "command/commands.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: assay-stories list\n"
    "       assay-stories check [NAME...]\n"
    "       assay-stories locate MODEL --subject story:NAME [options]\n\n"
    "check: localisation must name each story's operation, layer and cause.\n"
    "Exit status: 0 all are named, 1 one is not, 2 usage.\n";

/* What is wrong with the verdict, or NULL. */
static const char *judge(const struct story *s, const struct locate *l)
{
    if (l->fault.kind != LOCATED_SITE) return "no operation was named";
    const struct finding *f = &l->variants[l->fault.variant].findings[l->fault.finding];
    if (f->site != s->site) return "the wrong operation was named";
    if (site_table[f->site].scope == SITE_LAYER && (int)f->layer != s->seen_layer)
        return "the wrong layer was named";
    if (s->layer != EVERY_LAYER && l->fault.n_layers_hit != 1) return "other layers were named too";
    if (!strstr(l->fault.cause, s->cause)) return "the cause was not named";
    return NULL;
}

static enum status tell(const struct story *s, const char **wrong, struct err *e)
{
    char path[4096], name[128];
    struct gguf g;
    struct engine_model *m = NULL;
    struct locate l = {.n_variants = 0};
    const struct subject *subject = NULL;
    struct locate_options o = {.only_first = true};
    int32_t *ids = NULL;
    snprintf(path, sizeof path, "%s/models/%s.gguf.gz", path_vectors(NULL), s->model);
    snprintf(name, sizeof name, "story:%s", s->name);
    enum status st = gguf_open(&g, path, e);
    if (st != ST_OK) return st;
    st = engine_model_from_gguf(&m, &g, e);
    if (st == ST_OK) st = prompt_tokens(m, NULL, NULL, &ids, &o.n_tokens, e);
    engine_model_close(m);
    o.tokens = ids;
    if (st == ST_OK) st = subject_open(&subject, name, e);
    if (st == ST_OK) st = locate_run(&l, &g, subject, &o, e);
    if (st == ST_OK) {
        *wrong = judge(s, &l);
        printf("%-17s %s\n%-17s %s\n", s->name, s->what, *wrong ? "  NOT NAMED" : "", l.verdict);
    }
    locate_free(&l);
    free(ids);
    gguf_close(&g);
    return st;
}

static bool is_asked(const struct story *s, int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], s->name) == 0) return true;
    return argc == 0;
}

static int check(int argc, char **argv)
{
    size_t n = 0, n_bad = 0;
    for (size_t i = 0; i < n_stories; i++) {
        const char *wrong = NULL;
        struct err e = {0};
        if (!is_asked(&stories[i], argc, argv)) continue;
        n++;
        if (tell(&stories[i], &wrong, &e) != ST_OK) wrong = e.text;
        if (!wrong) continue;
        n_bad++;
        printf("%-17s wrong: %s\n", stories[i].name, wrong);
    }
    if (n == 0) {
        fprintf(stderr, "assay-stories: there is no such story\n");
        return EXIT_USAGE;
    }
    printf("%zu of %zu stories named\n", n - n_bad, n);
    return n_bad ? EXIT_FAIL : EXIT_PASS;
}

int main(int argc, char **argv)
{
    int code = EXIT_USAGE;
    setlocale(LC_CTYPE, "C.UTF-8");
    subject_kind_add(&story_kind);
    if (argc > 1 && strcmp(argv[1], "check") == 0) {
        code = check(argc - 2, argv + 2);
    } else if (argc > 1 && strcmp(argv[1], "locate") == 0) {
        code = cmd_locate(argc - 1, argv + 1);
    } else if (argc == 2 && strcmp(argv[1], "list") == 0) {
        for (size_t i = 0; i < n_stories; i++)
            printf("%-17s %s\n", stories[i].name, stories[i].what);
        code = EXIT_PASS;
    } else {
        fputs(help, argc == 2 && strcmp(argv[1], "--help") == 0 ? stdout : stderr);
        if (argc == 2 && strcmp(argv[1], "--help") == 0) code = EXIT_PASS;
    }
    subjects_close();
    return code;
}
