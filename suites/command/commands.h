/* The subcommands of `assay`. One file per subcommand: cmd_NAME.c with
 * int cmd_NAME(int argc, char **argv), argv[0] = the subcommand; the result is an exit code. */
#ifndef CMD_H
#define CMD_H

#include "base/options.h"

/* COMMAND(name, one-line summary): a row per subcommand. */
#define COMMAND(name, summary) int cmd_##name(int argc, char **argv);
#include "command/commands.def"
#undef COMMAND

#endif
