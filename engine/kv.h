/* The KV cache: keys (after RoPE) and values of every layer on a backend, and which position each
 * cell holds. The cell of a token is its position. */
#ifndef KV_H
#define KV_H

#include "backend.h"

struct kv_layer {
    struct dbuf *k, *v; /* (n_cells, row) of k_type, v_type */
};

/* Owned by the session; the backend must outlive it. */
struct kv_cache {
    struct backend *be;
    enum tensor_type k_type, v_type;
    uint32_t n_cells, row, n_layers;
    struct kv_layer *layers;
    struct dbuf *cell_pos;       /* (n_cells) i32 on the backend */
    int32_t *host_pos;           /* the same on the host; -1 = empty */
    uint32_t used;               /* cells in use: the position of the next token */
    uint32_t dirty_lo, dirty_hi; /* cells whose host_pos the backend does not know yet */
};

/* n_cells, row, n_layers, the types and be are set by the caller before kv_open. */
enum status kv_open(struct kv_cache *kv, struct arena *a, struct err *e);
void kv_close(struct kv_cache *kv);

/* Takes the next n cells (which must be there): writes positions and cells of the n tokens, and
 * tells the backend what the cells hold. */
enum status kv_claim(struct kv_cache *kv, uint32_t n, int32_t *pos, int32_t *cells, struct err *e);
/* Empties the cells from position pos on. */
void kv_rewind(struct kv_cache *kv, uint32_t pos);

#endif
