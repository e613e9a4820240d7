/* Assay's inference engine: open a model, evaluate tokens, read logits, attach a probe. The whole
 * public interface. One object must not be used by two threads at once; different objects may be.
 * The functions that take a const struct tokenizer * change nothing: threads may share a tokenizer.
 * To begin: engine_backend_open, engine_model_open, engine_session_open, tokenize, engine_eval,
 * engine_logits, sample. Close the session first, then the model and the backend. */
#ifndef ENGINE_H
#define ENGINE_H

#include "engine/base/base.h"
#include "spec/spec.h"

#ifdef __cplusplus
extern "C" {
#endif

struct gguf;
struct backend;
struct engine_model;   /* file, hyper-parameters, weight table, tokenizer */
struct engine_session; /* weights on a backend, KV cache, scratch */

/* ---- backend ---------------------------------------------------------------------------- */

/* Opens a backend by its name: "cpu", "vulkan", "cuda" or "cuda-sim"; ":N" behind the name selects
 * device N ("vulkan:0"), and "+WORD" forces kernels ("vulkan+reduce"). n_threads: threads of a
 * backend that computes on the host; 0 = one per core. ST_USAGE: no such name; ST_NO_DEVICE: this
 * build or this machine lacks the backend or the device. The caller closes *out, which is NULL
 * after a failure. */
enum status engine_backend_open(struct backend **out, const char *name, int n_threads,
                                struct err *e);
/* All sessions on b must have been closed before. b may be NULL. */
void engine_backend_close(struct backend *b);

/* ---- model ------------------------------------------------------------------------------ */

/* Maps a GGUF model (plain, gzip-compressed, or split) and checks every shape. Nothing is guessed:
 * a missing key or tensor, or an architecture that is not supported, is an error that names it. */
enum status engine_model_open(struct engine_model **out, const char *path, struct err *e);
/* The same over a container that the caller owns and keeps open. */
enum status engine_model_from_gguf(struct engine_model **out, struct gguf *g, struct err *e);
void engine_model_close(struct engine_model *m);

struct engine_shape {
    const char *arch;
    uint32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, n_ctx;
    uint32_t window; /* positions that layers with a window see; 0: there are none */
};
struct engine_shape engine_model_shape(const struct engine_model *m);
struct gguf *engine_model_gguf(const struct engine_model *m);

/* ---- text -------------------------------------------------------------------------------- */

struct tokenizer;
/* NULL if the file holds no tokenizer (engine_tokenizer_why says why). */
const struct tokenizer *engine_tokenizer(const struct engine_model *m);
const char *engine_tokenizer_why(const struct engine_model *m);

enum tokenize_flags {
    TOKENIZE_SPECIAL = 1, /* add BOS and EOS as the metadata says */
    TOKENIZE_PARSE = 2,   /* text of control tokens becomes those tokens */
};
/* *ids is malloc'd: the caller frees it. Any bytes are taken; invalid UTF-8 is encoded by bytes. */
enum status tokenize(const struct tokenizer *t, const char *text, size_t len, unsigned flags,
                     int32_t **ids, size_t *n, struct err *e);
/* Text of a sequence, malloc'd and NUL-terminated (*len without it). special: control tokens are
 * shown as their text. Ids out of range are an error. */
enum status detokenize(const struct tokenizer *t, const int32_t *ids, size_t n, bool special,
                       char **text, size_t *len, struct err *e);
/* The text that a token adds inside a sequence, malloc'd: detokenize without its rule for the first
 * token. It may end within a character. */
enum status token_piece(const struct tokenizer *t, int32_t id, bool special, char **text,
                        size_t *len, struct err *e);
/* The vocabulary's own text of a token ("▁Paris"); valid as long as the model. */
const char *token_text(const struct tokenizer *t, int32_t id, size_t *len);
bool token_ends_generation(const struct tokenizer *t, int32_t id);

/* ---- evaluation -------------------------------------------------------------------------- */

/* Looks into a forward pass. layer is 0 for sites of scope MODEL. rows = tokens (of the batch). */
struct engine_probe {
    void *ctx;
    /* Asked first; nothing is downloaded if false. NULL = never. */
    bool (*want)(void *ctx, enum site site, uint32_t layer);
    /* values (rows, cols), valid during the call. For SCORES and WEIGHTS cols = n_heads*n_cells;
     * with one sequence and full_cells, n_cells is the position after the batch's last token, and
     * cells are in the order of positions. NORM and LOGITS: only the rows whose logits are kept. */
    void (*take)(void *ctx, enum site site, uint32_t layer, const float *values, size_t rows,
                 size_t cols);
    /* Values to put in place of the engine's own, (rows, cols), or NULL to leave them. Called
     * after take. NULL = never. */
    const float *(*give)(void *ctx, enum site site, uint32_t layer, size_t rows, size_t cols);
};

struct engine_session_options {
    size_t n_ctx;   /* most tokens of a sequence; 0 = the model's context length */
    size_t n_seqs;  /* sequences that do not see each other; 0 = 1 */
    size_t n_batch; /* most tokens evaluated at once; 0 = 512 */
    /* Of the KV cache: TYPE_F32 (default), F16, BF16; Q8_0, Q4_0, Q5_1, IQ4_NL for heads of a
     * multiple of 32 dimensions. Latent keys and values (MLA) are the same bytes, of k_type. */
    enum tensor_type k_type, v_type;
    /* Sliding-window layers keep the whole context instead of a ring buffer of the window. */
    bool full_cells;
    const struct engine_probe *probe; /* must outlive the session; NULL = none */
    /* Computes attention as three operations (scores, softmax, mix) instead of the fused one: for
     * tests of these operations. A probe that wants SCORES or WEIGHTS gets them either way. */
    bool unfused;
    /* Multiplies by weights with matmul even where few tokens would take matvec: for tests that
     * compare the two. */
    bool always_matmul;
    /* Called while the weights are uploaded: done of total bytes. NULL = not called. */
    void (*progress)(void *ctx, size_t done, size_t total);
    void *progress_ctx; /* the first argument of progress */
};

/* Puts the weights on the backend, which must outlive the session, as must the model. */
enum status engine_session_open(struct engine_session **out, struct engine_model *m,
                                struct backend *b, const struct engine_session_options *o,
                                struct err *e);
void engine_session_close(struct engine_session *s);

/* Appends n tokens to the first sequence, in batches of at most n_batch. Logits of the last token
 * are kept, or of all n with all_logits. Token out of range or context full: error, and the
 * position is unchanged. After an error of the device too, unless what is before the position has
 * left a ring: then the sequence is empty. */
enum status engine_eval(struct engine_session *s, const int32_t *tokens, size_t n, bool all_logits,
                        struct err *e);

/* Tokens of several sequences, each appended to its own, in this order and in batches of at most
 * n_batch. */
struct engine_batch {
    const int32_t *tokens; /* (n) */
    const uint32_t *seqs;  /* (n), below the session's n_seqs; NULL = all of sequence 0 */
    const bool *keep;      /* (n): whose logits are kept; NULL = those of the last */
    size_t n;
};
enum status engine_eval_batch(struct engine_session *s, const struct engine_batch *b,
                              struct err *e);

/* Logits of row i of the last evaluation, n_vocab values, valid until the next call. Rows are the
 * tokens whose logits are kept, in the order of the batch's tokens, whatever their sequences. NULL
 * past the last row. */
const float *engine_logits(const struct engine_session *s, size_t i);

/* Tokens of a sequence so far: the position of the next. */
size_t engine_position(const struct engine_session *s); /* of the first */
size_t engine_seq_position(const struct engine_session *s, uint32_t seq);

/* Forgets everything of a sequence from position pos on (pos <= its position). ST_RANGE, and
 * nothing forgotten, if a layer with a window no longer holds what a token at pos would see; 0 is
 * always possible. */
enum status engine_rewind(struct engine_session *s, size_t pos, struct err *e); /* the first */
enum status engine_seq_rewind(struct engine_session *s, uint32_t seq, size_t pos, struct err *e);

/* ---- sampling ---------------------------------------------------------------------------- */

struct sampler {
    float temperature; /* 0 = greedy */
    uint32_t top_k;    /* 0 = all */
    float top_p;       /* 1 = all */
    float min_p;       /* 0 = all; relative to the largest probability */
    uint64_t state;    /* seed, then the generator's state */
};
/* The next token; the same seed and logits give the same tokens on every machine. Greedy takes the
 * lowest id among equals. scratch: n entries of 8 bytes. */
int32_t sample(struct sampler *s, const float *logits, uint32_t n, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
