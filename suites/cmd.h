/* What the subcommands of `assay` share: exit codes, options, progress, tables. One file per
 * subcommand: cmd_NAME.c with int cmd_NAME(int argc, char **argv), argv[0] = the subcommand. */
#ifndef CMD_H
#define CMD_H

#include "base.h"

enum exit_code { EXIT_PASS = 0, EXIT_FAIL = 1, EXIT_USAGE = 2, EXIT_NOTHING = 77 };

/* COMMAND(name, one-line summary): a row per subcommand. */
#define COMMAND(name, summary) int cmd_##name(int argc, char **argv);
#include "commands.def"
#undef COMMAND

/* Prints "assay NAME: message" as one line on stderr; returns the exit code that fits. */
int cmd_error(const char *command, const struct err *e);
int cmd_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* True if the text of a number is one, whole, and in range. */
bool parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out);
bool parse_f64(const char *s, double *out);

/* A bar on stderr when it is a terminal, silent otherwise. Clears itself at progress_end. */
void progress_show(const char *what, size_t done, size_t total);
void progress_end(void);

/* SIGINT sets a flag instead of ending the program; a second one ends it. */
void interrupt_catch(void);
bool interrupted(void);

/* Escape sequences, "" when stdout is no terminal or NO_COLOR is set. */
const char *color(const char *name); /* "red", "green", "yellow", "bold", "dim", "reset" */

/* Makes a directory and its parents; an error names the path. It must be writable. */
enum status make_directory(const char *path, struct err *e);

/* Where caches go: $ASSAY_CACHE, else $XDG_CACHE_HOME/assay, else ~/.cache/assay. Created. */
enum status cache_dir(char *out, size_t cap, struct err *e);
/* Where the golden data is: option, else $ASSAY_VECTORS, else the build's or installed folder. */
const char *vectors_dir(const char *option);

/* A line of what a file says, with everything escaped that a terminal would act on. */
void print_plain(const char *line);

/* Width of a UTF-8 text on a terminal. */
size_t text_columns(const char *s, size_t len);

#endif
