/* The KV cache: keys (after RoPE) and values of every layer on a backend, and which position each
 * cell holds. Every sequence has cells of its own: position p of a sequence is in its cell
 * p % seq_cells. Layers that see all of a sequence have a cell for every position; windowed layers
 * have rings, in which a position takes the place of one that has left the window.
 *
 * The backend is told positions that tell sequences apart: n_ctx times the sequence, plus the
 * position within it. */
#ifndef KV_H
#define KV_H

#include "engine/backend.h"

enum kv_kind { KV_FULL, KV_WINDOWED, KV_KINDS };

struct kv_layer {
    enum kv_kind kind;
    struct dbuf *k, *v; /* (n_seqs, seq_cells, k_row or v_row) of k_type, v_type */
};

/* The cells of all layers of a kind. */
struct kv_store {
    uint32_t seq_cells;          /* per sequence; 0: there is no such layer */
    uint32_t window;             /* positions that a token sees, its own included; 0: all */
    struct dbuf *cell_pos;       /* (n_seqs, seq_cells) i32 on the backend */
    int32_t *host_pos;           /* the same on the host; -1 = empty */
    uint32_t dirty_lo, dirty_hi; /* cells whose host_pos the backend does not know yet */
};

struct kv_seq {
    uint32_t used; /* the position of the next token */
    uint32_t kept; /* the oldest position that the rings still hold */
};

/* Owned by the session; the backend must outlive it. */
struct kv_cache {
    struct backend *be;
    enum tensor_type k_type, v_type;
    uint32_t k_row, v_row, n_layers, n_ctx, n_seqs;
    struct kv_layer *layers;
    struct kv_store stores[KV_KINDS];
    struct kv_seq *seqs;
};

/* Sizes, types and be are set by the caller before kv_open, and of the stores seq_cells and window;
 * windowed (n_layers): the kind of each layer. */
enum status kv_open(struct kv_cache *kv, const bool *windowed, struct arena *a, struct err *e);
void kv_close(struct kv_cache *kv);
/* Cells of the larger store, of all sequences. */
uint32_t kv_most_cells(const struct kv_cache *kv);

struct kv_range {
    uint32_t from, n;
};

/* Places of the tokens of a batch, (n) each. */
struct kv_places {
    int32_t *pos;     /* as the backend is told */
    int32_t *seq_pos; /* within the sequence */
    int32_t *first[KV_KINDS], *cells[KV_KINDS];
    struct kv_range range[KV_KINDS]; /* of cells, from the first that a token may see on */
};

/* Takes the next cells of the tokens' sequences (seqs NULL: all of the first), which must be
 * there, and tells the backend what the cells hold. */
enum status kv_claim(struct kv_cache *kv, uint32_t n, const uint32_t *seqs, struct kv_places *out,
                     struct err *e);
/* Whether what a token at position pos sees is still held. */
bool kv_holds(const struct kv_cache *kv, uint32_t seq, uint32_t pos);
/* Forgets a sequence from position pos on. What lies in its cells is of positions that no token
 * sees before it is written anew: a position always has the same cell. */
void kv_rewind(struct kv_cache *kv, uint32_t seq, uint32_t pos);

#endif
