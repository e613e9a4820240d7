/* The options of a subcommand as a table: one row each, and one loop that parses them all; exit
 * codes, and errors as one line. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "engine/base/base.h"
#include "spec/spec.h"

#include <getopt.h> /* optind */

enum exit_code { EXIT_PASS = 0, EXIT_FAIL = 1, EXIT_USAGE = 2, EXIT_NOTHING = 77 };

/* Prints "assay COMMAND: message" as one line on stderr, or "COMMAND: message" if the command is a
 * program of its own, "assay-NAME"; returns the exit code that fits the error. */
int cmd_error(const char *command, const struct err *e);
/* The same for a wrong call; the line ends with a pointer to the command's help. EXIT_USAGE. */
int cmd_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* True if the text is one number, a whole one from min to max (parse_u64) or a finite one
 * (parse_f64), and nothing else. */
bool parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out);
bool parse_f64(const char *s, double *out);

enum option_kind {
    OPTION_FLAG,   /* bool *: set to true */
    OPTION_TEXT,   /* const char ** */
    OPTION_TEXTS,  /* struct option_texts *: the option may be given several times */
    OPTION_COUNT,  /* uint64_t *, a whole number from min to max */
    OPTION_SHARE,  /* float *, a number from 0 to max */
    OPTION_NUMBER, /* double *, a number that is not negative */
    OPTION_CACHE,  /* enum tensor_type *: a type of the KV cache */
    OPTION_CACHES, /* enum tensor_type [2], of K and V: "TYPE", or "TYPE,TYPE" */
};

enum { OPTION_TEXTS_MAX = 64 };

struct option_texts {
    const char *text[OPTION_TEXTS_MAX];
    size_t n;
};

/* One option: what is parsed, and what --help, and from it the manual page and the completion, say
 * of it. */
struct option_row {
    const char *name; /* without the two dashes; NULL: the option has a letter only */
    enum option_kind kind;
    void *out;
    char letter;          /* 0: none */
    const char *argument; /* what --help calls the argument; NULL for a flag */
    const char *help;     /* broken into lines by --help; \n begins a line. --help adds the types
                             that OPTION_CACHE and OPTION_CACHES take */
    const char *alias; /* a name of an older version that is still taken, and shown nowhere; NULL:
                             there is none */
    uint64_t min, max; /* OPTION_COUNT, OPTION_SHARE */
};

/* What --help prints before and after the list of options. */
struct option_help {
    const char *before, *after; /* after: NULL for nothing */
};

/* Parses all options; --help and -h are there too. Returns -1 to go on, operands from argv[optind]
 * on, or the code to exit with, after a line that says why. argv[0] is the command's name. */
int options_parse(int argc, char **argv, const struct option_help *help,
                  const struct option_row *rows, size_t n);

/* The one operand that there must be, as *out; -1, or the code to exit with. what: "model". */
int options_one(int argc, char **argv, const char *what, const char **out);

/* What --kv takes, for help texts. */
#define CACHE_TYPES "f32, f16, bf16, q8_0, q4_0, q5_1, iq4_nl"

#endif
