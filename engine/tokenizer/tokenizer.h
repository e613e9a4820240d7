/* Tokenizers inside: the vocabulary with its lookups and rules, shared by all kinds, and what a
 * kind provides. The public calls are in engine.h. */
#ifndef TOKENIZER_H
#define TOKENIZER_H

#include "engine/engine.h"
#include "engine/gguf/gguf.h"
#include "engine/tokenizer/tokenizer_index.h"
#include "engine/tokenizer/tokenizer_pre.h"

enum tokenizer_kind {
    TOKENIZER_SPM,    /* SentencePiece: merges by score */
    TOKENIZER_BPE,    /* byte-pair merges by rank, bytes written as characters of their own */
    TOKENIZER_GEMMA4, /* byte-pair merges over characters */
    TOKENIZER_WPM,    /* WordPiece: the longest match */
};

/* What a token is; a set. */
enum token_attr {
    ATTR_UNKNOWN = 1,
    ATTR_UNUSED = 2,
    ATTR_NORMAL = 4,
    ATTR_CONTROL = 8,
    ATTR_USER_DEFINED = 16,
    ATTR_BYTE = 32,
    ATTR_LSTRIP = 128, /* swallows the white space before it */
    ATTR_RSTRIP = 256, /* swallows the white space that follows it */
    ATTR_SPECIAL =
        ATTR_UNKNOWN | ATTR_CONTROL | ATTR_USER_DEFINED, /* found in text before encoding */
};

struct token {
    float score;
    uint32_t attr;
    bool ends_generation;
};

/* Owned by the model; texts are views into its file. */
struct tokenizer {
    enum tokenizer_kind kind;
    struct arena arena;
    struct text_index index; /* texts by id, ids by text */
    uint32_t n_tokens;
    struct token *tokens;  /* (n_tokens) */
    int32_t byte_ids[256]; /* fallback token of each byte, or NO_TOKEN */
    int32_t *specials;     /* (n_specials) ids with ATTR_SPECIAL, longest text first */
    uint32_t n_specials;
    int32_t bos, eos, unk, sep;
    bool add_bos, add_eos, add_space_prefix, clean_spaces;

    bool words_apart;               /* SPM: no token goes on behind a space within it */
    struct bpe *bpe;                /* BPE and GEMMA4 */
    bool lower_case, strip_accents; /* WPM */
    size_t longest;                 /* bytes of the longest token */
    size_t *lengths;                /* WPM, (n_lengths): of tokens, the longest first */
    uint32_t n_lengths;
};

enum { TOKENIZER_WHY = 400 }; /* room for the reason why there is no tokenizer */

/* *out stays NULL, with the reason in why, if the file has no tokenizer of a supported kind; a
 * tokenizer that contradicts itself is an error. */
enum status tokenizer_open(struct tokenizer **out, const struct gguf *g, char *why, size_t why_cap,
                           struct err *e);
void tokenizer_close(struct tokenizer *t);

/* The token with that text (of several: the last one), or NO_TOKEN. */
static inline int32_t tokenizer_find(const struct tokenizer *t, const char *text, size_t len)
{
    return text_index_find(&t->index, text, len);
}

/* Reads the tokens with their scores and kinds (tokenizer_vocab.c). */
enum status tokenizer_load_vocabulary(struct tokenizer *t, const struct gguf *g, struct err *e);

/* The id that a key gives, or the other one in its absence; one outside the vocabulary counts as
 * not given. */
enum status tokenizer_load_id(const struct tokenizer *t, const struct gguf *g, const char *key,
                              int32_t absent, int32_t *out, struct err *e);

/* Applies the rules that go by a token's text and fills t->specials (tokenizer_special.c). */
enum status tokenizer_mark_special(struct tokenizer *t, const struct gguf *g, unsigned pre_flags,
                                   struct err *e);

/* Token ids that grow (tokenizer_ids.c). */
struct id_list {
    int32_t *ids;
    size_t n, cap;
};
enum status id_push(struct id_list *l, int32_t id, struct err *e);

/* Text cut at special tokens: a list in order, through next. */
struct fragment {
    int32_t id; /* a token, or NO_TOKEN: raw text */
    size_t off, len;
    size_t next; /* index; 0 = end (the first fragment is nobody's next) */
};
struct fragment_list {
    struct fragment *at; /* at[0] is the first */
    size_t n, cap;
};
/* Release with free(out->at). out->n is 0 for an empty text. */
enum status tokenizer_cut(const struct tokenizer *t, const char *text, size_t len,
                          bool parse_special, struct fragment_list *out, struct err *e);

enum { TOKENIZER_MAX_TEXT = 1 << 28 }; /* bytes of a raw fragment: offsets fit 32 bits */

/* Looks at the vocabulary; appends the tokens of a raw fragment (tokenizer_spm.c). */
void spm_open(struct tokenizer *t);
enum status spm_encode(const struct tokenizer *t, const char *text, size_t len, bool space_prefix,
                       struct id_list *out, struct err *e);

/* Reads the merges (tokenizer_bpe.c). pre is kept. */
enum status bpe_open(struct tokenizer *t, const struct gguf *g, const struct pre *pre,
                     struct err *e);
void bpe_close(struct bpe *b);
enum status bpe_encode(const struct tokenizer *t, const char *text, size_t len, struct id_list *out,
                       struct err *e);
/* The byte that a code point of a token's text stands for, or -1. */
int bpe_byte_of(const struct bpe *b, uint32_t c);

/* tokenizer_wpm.c: looks at the vocabulary; appends the tokens of a raw fragment. */
enum status wpm_open(struct tokenizer *t, struct err *e);
enum status wpm_encode(const struct tokenizer *t, const char *text, size_t len, struct id_list *out,
                       struct err *e);

enum detokenize_flags {
    DETOKENIZE_SPECIAL = 1, /* control and unknown tokens by their text */
    DETOKENIZE_STRIP = 2,   /* without the BOS and EOS that TOKENIZE_SPECIAL adds */
};
/* As detokenize() of engine.h (tokenizer_decode.c). */
enum status tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n,
                             unsigned flags, char **text, size_t *len, struct err *e);

#endif
