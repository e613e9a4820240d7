/* What programs do with the terminal: progress, Ctrl-C, colours. */
#ifndef TERMINAL_H
#define TERMINAL_H

#include "engine/base/base.h"

/* Shows a bar on stderr when stderr is a terminal, and nothing otherwise. progress_end removes the
 * bar; print nothing before it is removed. */
void progress_show(const char *what, size_t done, size_t total);
void progress_end(void);

/* After interrupt_catch, the first SIGINT or SIGTERM sets a flag, which interrupted returns,
 * instead of ending the program; a second signal ends it. */
void interrupt_catch(void);
bool interrupt_caught(void);

/* The escape sequence of "red", "green", "yellow", "bold", "dim" or "reset"; "" when stdout is no
 * terminal or NO_COLOR is set. */
const char *terminal_color(const char *name);

#endif
