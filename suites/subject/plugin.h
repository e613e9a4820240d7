/* Subjects from shared libraries: the child process that holds the library, and what the two say
 * to each other over a socket. Structs travel as they are: both are the same program. */
#ifndef SUBJECT_PLUGIN_H
#define SUBJECT_PLUGIN_H

#include "subject/subject.h"

enum plugin_message {
    PLUGIN_HELLO,    /* child: struct plugin_hello, or an error */
    PLUGIN_ALLOC,    /* key, bytes */
    PLUGIN_RELEASE,  /* key; no answer */
    PLUGIN_UPLOAD,   /* key, offset, data */
    PLUGIN_DOWNLOAD, /* key, offset, bytes */
    PLUGIN_OP,       /* which, struct op_... whose buffers are keys */
    PLUGIN_DECODE,   /* type, n, data */
    PLUGIN_EVAL,     /* n, n_vocab, has_give; path and tokens */
    PLUGIN_WANT,     /* child asks: site, layer */
    PLUGIN_TAKE,     /* child shows: site, layer, rows, cols, values; no answer */
    PLUGIN_GIVE,     /* child asks: site, layer, rows, cols */
    PLUGIN_DONE,     /* answer: status, data or text */
};

/* Before every message. data: bytes that follow. */
struct plugin_head {
    enum plugin_message what;
    uint32_t status; /* enum status of an answer */
    uint64_t key, offset, bytes, rows, cols;
    uint32_t which, layer;
    uint64_t data;
};

struct plugin_hello {
    char name[128], activations[16];
    bool decode, eval, gives;
    bool ops[OP_COUNT];
};

/* All of data or nothing; timeout_ms < 0: for ever. ST_DEVICE: closed; ST_CANCELLED: timed out. */
enum status plugin_write(int fd, const struct plugin_head *h, const void *data);
enum status plugin_read(int fd, void *data, size_t n, int timeout_ms);

/* The child's whole life: loads the library, answers, exits. */
void plugin_serve(int fd, const char *path);

extern const struct subject_kind plugin_kind; /* "plugin" */

#endif
