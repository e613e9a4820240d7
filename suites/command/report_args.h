/* What the actions of `assay report` share. */
#ifndef REPORT_ARGS_H
#define REPORT_ARGS_H

#include "command/commands.h"

#include <string.h>

/* Names of files, those of a directory's .json files (also compressed) in order. */
struct file_list {
    char **paths;
    size_t n;
};
enum status files_add(struct file_list *l, const char *path, struct err *e);
void files_free(struct file_list *l);

/* argv[0] is the action. */
/* The action's name in argv[0], "assay report html". */
static inline const char *report_action(const char *program)
{
    const char *space = strrchr(program, ' ');
    return space ? space + 1 : program;
}

int report_convert(int argc, char **argv);
int report_validate(int argc, char **argv);
int report_merge_files(int argc, char **argv);
int report_compare(int argc, char **argv);
int report_judge(int argc, char **argv);
int report_sign(int argc, char **argv);
int report_index(int argc, char **argv);

#endif
