/* Options by table; see options.h. */
#include "base/options.h"
#include "base/terminal.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 32, FIRST_VALUE = 256, HELP = FIRST_VALUE + MAX_ROWS, WIDTH = 100 };

/* What stands before the name of a command: "assay ", or nothing before that of a program. */
static const char *program_of(const char *command)
{
    return strncmp(command, "assay-", 6) == 0 ? "" : "assay ";
}

int cmd_error(const char *command, const struct err *e)
{
    progress_end();
    fprintf(stderr, "%s%s: %s\n", program_of(command), command, e->text);
    if (e->st == ST_USAGE) return EXIT_USAGE;
    if (e->st == ST_NO_DEVICE) return EXIT_NOTHING;
    return EXIT_FAIL;
}

int cmd_usage(const char *command, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    progress_end();
    fprintf(stderr, "%s%s: ", program_of(command), command);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "; see '%s%s --help'\n", program_of(command), command);
    va_end(ap);
    return EXIT_USAGE;
}

bool parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
    if (*s < '0' || *s > '9') return false;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(s, &end, 10);
    if (errno || *end || v < min || v > max) return false;
    *out = v;
    return true;
}

bool parse_f64(const char *s, double *out)
{
    char *end;
    errno = 0;
    double v = strtod(s, &end);
    if (end == s || *end || errno || !(v - v == 0)) return false;
    *out = v;
    return true;
}

/* "assay bench" -> "bench" */
static const char *command_of(char **argv)
{
    const char *space = strchr(argv[0], ' ');
    return space ? space + 1 : argv[0];
}

static bool cache_type(const char *s, size_t n, enum tensor_type *out)
{
    static const char *const names[] = {"f32", "f16", "bf16", "q8_0", "q4_0", "q5_1", "iq4_nl"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) != n || strncmp(names[i], s, n) != 0) continue;
        *out = type_by_name(names[i])->id;
        return true;
    }
    return false;
}

static bool cache_types(const char *s, enum tensor_type out[2])
{
    const size_t n = strcspn(s, ",");
    if (!cache_type(s, n, &out[0])) return false;
    if (s[n]) return cache_type(s + n + 1, strlen(s + n + 1), &out[1]);
    out[1] = out[0];
    return true;
}

/* "--subject", or "-n" where there is no long name. */
static void option_name(const struct option_row *r, char *out, size_t cap)
{
    if (r->name)
        snprintf(out, cap, "--%s", r->name);
    else
        snprintf(out, cap, "-%c", r->letter);
}

static int take(const struct option_row *r, const char *command, const char *value)
{
    char name[64];
    struct option_texts *texts;
    double x;
    option_name(r, name, sizeof name);
    switch (r->kind) {
    case OPTION_FLAG:
        *(bool *)r->out = true;
        return -1;
    case OPTION_TEXT:
        *(const char **)r->out = value;
        return -1;
    case OPTION_TEXTS:
        texts = r->out;
        if (texts->n == OPTION_TEXTS_MAX)
            return cmd_usage(command, "%s is given more than %d times", name, OPTION_TEXTS_MAX);
        texts->text[texts->n++] = value;
        return -1;
    case OPTION_COUNT:
        if (parse_u64(value, r->min, r->max, r->out)) return -1;
        return cmd_usage(command, "%s '%s' is not a whole number from %llu to %llu", name, value,
                         (unsigned long long)r->min, (unsigned long long)r->max);
    case OPTION_SHARE:
        if (!parse_f64(value, &x) || !(x >= 0 && x <= (double)r->max))
            return cmd_usage(command, "%s '%s' is not a number from 0 to %llu", name, value,
                             (unsigned long long)r->max);
        *(float *)r->out = (float)x;
        return -1;
    case OPTION_NUMBER:
        if (parse_f64(value, &x) && x >= 0) return *(double *)r->out = x, -1;
        return cmd_usage(command, "%s '%s' is not a number from 0 on", name, value);
    case OPTION_CACHE:
        if (cache_type(value, strlen(value), r->out)) return -1;
        return cmd_usage(command, "%s '%s' is none of " CACHE_TYPES, name, value);
    case OPTION_CACHES:
        if (cache_types(value, r->out)) return -1;
        return cmd_usage(command, "%s '%s' is none of " CACHE_TYPES ", nor two of them for K,V",
                         name, value);
    }
    return EXIT_USAGE;
}

/* ---- help -------------------------------------------------------------------------------- */

/* "-p, --prompt TEXT"; returns its length. */
static int heading(const struct option_row *r, char *out, size_t cap)
{
    char name[64], letter[8] = "";
    option_name(r, name, sizeof name);
    if (r->name && r->letter) snprintf(letter, sizeof letter, "-%c, ", r->letter);
    return snprintf(out, cap, "%s%s%s%s", letter, name, r->argument ? " " : "",
                    r->argument ? r->argument : "");
}

/* Prints words from the column at on, in lines that begin at the column left. */
static int print_words(const char *text, int at, int left)
{
    for (bool first = at == left; *text;) {
        const int n = (int)strcspn(text, " \n");
        if (!first && at + 1 + n > WIDTH) at = printf("\n%*s", left, "") - 1, first = true;
        at += printf("%s%.*s", first ? "" : " ", n, text);
        first = false;
        text += n;
        if (*text == '\n') at = printf("\n%*s", left, "") - 1, first = true;
        text += *text != 0;
    }
    return at;
}

static void print_options(const struct option_row *rows, size_t n)
{
    enum { WIDEST = 22 }; /* a longer heading has a line of its own */
    char head[96];
    int wide = 0;
    for (size_t i = 0; i < n; i++) {
        const int k = heading(&rows[i], head, sizeof head);
        if (k > wide && k <= WIDEST) wide = k;
    }
    const int left = 2 + wide + 2;
    for (size_t i = 0; i < n; i++) {
        const struct option_row *r = &rows[i];
        const bool own_line = heading(r, head, sizeof head) > wide;
        printf("  %-*s", wide, head);
        printf("%s%*s", own_line ? "\n" : "", own_line ? left : 2, "");
        const int at = print_words(r->help, left, left);
        if (r->kind == OPTION_CACHE || r->kind == OPTION_CACHES) {
            putchar(':');
            print_words(CACHE_TYPES, at + 1, left);
        }
        putchar('\n');
    }
}

/* ---- parsing ----------------------------------------------------------------------------- */

/* How many letters must be put in, taken out or changed to make one name of the other. */
static size_t distance(const char *a, const char *b)
{
    enum { MOST = 32 };
    size_t row[MOST + 1];
    const size_t n = strlen(b);
    if (n > MOST) return MOST;
    for (size_t k = 0; k <= n; k++) row[k] = k;
    for (size_t i = 0; a[i]; i++) {
        size_t corner = row[0];
        row[0] = i + 1;
        for (size_t k = 0; k < n; k++) {
            const size_t up = row[k + 1], left = row[k];
            size_t least = corner + (a[i] != b[k]);
            if (up + 1 < least) least = up + 1;
            if (left + 1 < least) least = left + 1;
            row[k + 1] = least;
            corner = up;
        }
    }
    return row[n];
}

/* The line about an option that there is not, with the nearest name if one is near. */
static int unknown(char **argv, const struct option_row *rows, size_t n)
{
    enum { NEAR = 2 };
    char given[64];
    const char *best = NULL;
    size_t least = NEAR + 1;
    if (optopt) return cmd_usage(command_of(argv), "there is no option -%c", optopt);
    const char *name = argv[optind - 1] + 2;
    snprintf(given, sizeof given, "%.*s", (int)strcspn(name, "="), name);
    for (size_t i = 0; i < n; i++) {
        const size_t d = rows[i].name ? distance(given, rows[i].name) : least;
        if (d < least && d < strlen(given)) least = d, best = rows[i].name;
    }
    if (!best) return cmd_usage(command_of(argv), "there is no option --%s", given);
    const char *command = command_of(argv);
    fprintf(stderr, "%s%s: there is no option --%s; did you mean --%s?\n", program_of(command),
            command, given, best);
    return EXIT_USAGE;
}

/* What getopt cannot take; c is its answer, ':' where an argument is missing. */
static int refuse(int c, char **argv, const struct option_row *rows, size_t n)
{
    char name[64] = "--help";
    size_t i = 0;
    while (i < n && optopt != FIRST_VALUE + (int)i && optopt != rows[i].letter) i++;
    if (!optopt || (i == n && optopt != HELP)) return unknown(argv, rows, n);
    if (i < n) option_name(&rows[i], name, sizeof name);
    return cmd_usage(command_of(argv), "%s %s", name,
                     c == ':' ? "needs an argument" : "takes no argument");
}

int options_parse(int argc, char **argv, const struct option_help *help,
                  const struct option_row *rows, size_t n)
{
    struct option longs[2 * MAX_ROWS + 2] = {{0}};
    char shorts[2 * MAX_ROWS + 3] = ":h"; /* the colon: getopt tells a missing argument apart */
    size_t s = 2, l = 0;
    longs[l++] = (struct option){"help", no_argument, NULL, HELP};
    for (size_t i = 0; i < n; i++) {
        const int has = rows[i].kind == OPTION_FLAG ? no_argument : required_argument;
        const int value = FIRST_VALUE + (int)i;
        if (rows[i].name) longs[l++] = (struct option){rows[i].name, has, NULL, value};
        if (rows[i].alias) longs[l++] = (struct option){rows[i].alias, has, NULL, value};
        if (!rows[i].letter) continue;
        shorts[s++] = rows[i].letter;
        if (has == required_argument) shorts[s++] = ':';
    }
    opterr = 0;
    for (int c, code; (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (c == HELP || c == 'h') {
            fputs(help->before, stdout);
            print_options(rows, n);
            if (help->after) printf("\n%s", help->after);
            return EXIT_PASS;
        }
        size_t i = 0;
        while (i < n && c != FIRST_VALUE + (int)i && c != rows[i].letter) i++;
        if (i == n) return refuse(c, argv, rows, n);
        if ((code = take(&rows[i], command_of(argv), optarg)) >= 0) return code;
    }
    return -1;
}

int options_one(int argc, char **argv, const char *what, const char **out)
{
    if (optind == argc) return cmd_usage(command_of(argv), "no %s given", what);
    if (optind + 1 < argc) return cmd_usage(command_of(argv), "more than one %s given", what);
    *out = argv[optind];
    return -1;
}
