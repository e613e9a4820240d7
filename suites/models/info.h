/* What `assay info` knows about a model file (info.c), and the two ways of showing it. */
#ifndef INFO_H
#define INFO_H

#include "engine/engine.h"
#include "engine/gguf/gguf.h"

/* What becomes of a key. UNKNOWN: the engine refused the model before it came to it. */
enum key_use { KEY_USED, KEY_INFORMATIONAL, KEY_UNUSED, KEY_UNKNOWN };

struct type_total {
    size_t tensors;
    uint64_t elems, bytes;
};

struct special_token {
    struct gguf_str role; /* "bos" of tokenizer.ggml.bos_token_id */
    int64_t id;
    bool in_range;
    struct gguf_str text; /* empty if not in range */
};

enum { TOKEN_TYPES = 7 }; /* normal, control, ... as numbered in GGUF */

struct tokenizer_info {
    bool present;
    struct gguf_str model, pre;
    uint64_t n_tokens, n_scores, n_types, n_merges; /* 0 = no such key */
    uint64_t by_type[TOKEN_TYPES];
    struct special_token *specials;
    size_t n_specials;
    uint64_t template_bytes;
};

/* Owned by the caller; views into g. */
struct info {
    const char *path;
    struct gguf *g;
    bool all; /* arrays and texts in full */
    struct arena arena;
    enum key_use *use; /* (g->n_kv) */
    struct type_total types[TYPE_ID_END], total;
    struct tokenizer_info tokenizer;
    bool engine_opens;
    struct err engine_reason;  /* if not */
    struct engine_shape shape; /* if it does; arch is a copy */
    char tokenizer_why[400];   /* why the engine has no tokenizer; empty if it has */
};

enum status info_gather(struct info *out, struct gguf *g, const char *path, bool all,
                        struct err *e);
void info_free(struct info *i);

/* The name of a token's type by its number in GGUF. */
const char *info_token_type(size_t type);
double info_bits_per_weight(uint64_t bytes, uint64_t elems);
/* The same over all matrices of a model. */
double info_bits_of_matrices(const struct gguf *g);

/* text_escape of a text of the file (text.h). */
char *info_escape(struct gguf_str s, bool quote, size_t max);
struct number_text {
    char text[64];
};
/* Element i of a number or bool array, as short as it is exact. */
struct number_text info_number(struct gguf_kv *kv, uint64_t i);

void info_print(const struct info *i);
/* Path "-": to standard output. */
enum status info_write_json(const struct info *i, const char *path, struct err *e);

#endif
