/* Options by table; see options.h. */
#include "base/options.h"
#include "base/terminal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 32, FIRST_VALUE = 256, HELP = FIRST_VALUE + MAX_ROWS };

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

static int take(const struct option_row *r, const char *command, const char *value)
{
    char name[64];
    double x;
    if (r->name)
        snprintf(name, sizeof name, "--%s", r->name);
    else
        snprintf(name, sizeof name, "-%c", r->letter);
    switch (r->kind) {
    case OPTION_FLAG:
        *(bool *)r->out = true;
        return -1;
    case OPTION_TEXT:
        *(const char **)r->out = value;
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

int options_parse(int argc, char **argv, const char *help, const struct option_row *rows, size_t n)
{
    struct option longs[MAX_ROWS + 2] = {{0}};
    char shorts[2 * MAX_ROWS + 2] = "h";
    size_t s = 1, l = 0;
    longs[l++] = (struct option){"help", no_argument, NULL, HELP};
    for (size_t i = 0; i < n; i++) {
        const int has = rows[i].kind == OPTION_FLAG ? no_argument : required_argument;
        if (rows[i].name)
            longs[l++] = (struct option){rows[i].name, has, NULL, FIRST_VALUE + (int)i};
        if (!rows[i].letter) continue;
        shorts[s++] = rows[i].letter;
        if (has == required_argument) shorts[s++] = ':';
    }
    for (int c, code; (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (c == HELP || c == 'h') {
            fputs(help, stdout);
            return EXIT_PASS;
        }
        size_t i = 0;
        while (i < n && c != FIRST_VALUE + (int)i && c != rows[i].letter) i++;
        if (i == n) return EXIT_USAGE; /* getopt has said why */
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
