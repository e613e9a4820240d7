/* The KV cache. */
#include "engine/kv.h"

static enum status open_store(struct kv_cache *kv, struct kv_store *s, struct arena *a,
                              struct err *e)
{
    const uint32_t n = kv->n_seqs * s->seq_cells;
    if (n == 0) return ST_OK;
    s->host_pos = arena_alloc(a, n, sizeof *s->host_pos);
    if (!s->host_pos) return fail(e, ST_NOMEM, "out of memory for a KV cache of %u cells", n);
    for (uint32_t c = 0; c < n; c++) s->host_pos[c] = -1;
    s->dirty_hi = n;
    return backend_ops_of(kv->be)->alloc(kv->be, n * sizeof(int32_t), &s->cell_pos, e);
}

static enum status open_layer(struct kv_cache *kv, struct kv_layer *l, struct err *e)
{
    const struct backend_ops *ops = backend_ops_of(kv->be);
    const size_t n = (size_t)kv->n_seqs * kv->stores[l->kind].seq_cells;
    size_t k_bytes, v_bytes;
    if (!mul_size(type_bytes(type_by_id(kv->k_type), kv->k_row), n, &k_bytes) ||
        !mul_size(type_bytes(type_by_id(kv->v_type), kv->v_row), n, &v_bytes))
        return fail(e, ST_RANGE, "a KV cache of %zu cells of %u values does not fit in memory", n,
                    kv->k_row);
    enum status st = ops->alloc(kv->be, k_bytes, &l->k, e);
    return st == ST_OK ? ops->alloc(kv->be, v_bytes, &l->v, e) : st;
}

enum status kv_open(struct kv_cache *kv, const bool *windowed, struct arena *a, struct err *e)
{
    enum status st = ST_OK;
    kv->layers = arena_alloc(a, kv->n_layers, sizeof *kv->layers);
    kv->seqs = arena_alloc(a, kv->n_seqs, sizeof *kv->seqs);
    if (!kv->layers || !kv->seqs)
        return fail(e, ST_NOMEM, "out of memory for a KV cache of %u layers, %u sequences",
                    kv->n_layers, kv->n_seqs);
    for (uint32_t i = 0; i < kv->n_layers && st == ST_OK; i++) {
        kv->layers[i].kind = windowed[i] ? KV_WINDOWED : KV_FULL;
        st = open_layer(kv, &kv->layers[i], e);
    }
    for (int k = 0; k < KV_KINDS && st == ST_OK; k++) st = open_store(kv, &kv->stores[k], a, e);
    return st;
}

void kv_close(struct kv_cache *kv)
{
    if (!kv->be) return;
    const struct backend_ops *ops = backend_ops_of(kv->be);
    for (uint32_t i = 0; kv->layers && i < kv->n_layers; i++) {
        ops->release(kv->be, kv->layers[i].k);
        ops->release(kv->be, kv->layers[i].v);
    }
    for (int k = 0; k < KV_KINDS; k++) ops->release(kv->be, kv->stores[k].cell_pos);
}

uint32_t kv_most_cells(const struct kv_cache *kv)
{
    uint32_t most = 0;
    for (int k = 0; k < KV_KINDS; k++)
        if (kv->stores[k].seq_cells > most) most = kv->stores[k].seq_cells;
    return kv->n_seqs * most;
}

static void put(struct kv_store *s, uint32_t cell, int32_t pos)
{
    s->host_pos[cell] = pos;
    if (s->dirty_lo >= s->dirty_hi) {
        s->dirty_lo = cell;
        s->dirty_hi = cell + 1;
        return;
    }
    if (cell < s->dirty_lo) s->dirty_lo = cell;
    if (cell >= s->dirty_hi) s->dirty_hi = cell + 1;
}

static enum status tell(struct kv_cache *kv, struct kv_store *s, struct err *e)
{
    if (s->dirty_lo >= s->dirty_hi) return ST_OK;
    struct view dst = {s->cell_pos, s->dirty_lo * sizeof(int32_t)};
    enum status st = backend_ops_of(kv->be)->upload(
        kv->be, dst, s->host_pos + s->dirty_lo, (s->dirty_hi - s->dirty_lo) * sizeof(int32_t), e);
    if (st == ST_OK) s->dirty_lo = s->dirty_hi = 0;
    return st;
}

/* The first position that a token at pos sees. */
static uint32_t first_seen(const struct kv_store *s, uint32_t pos)
{
    return s->window > 0 && pos >= s->window ? pos - s->window + 1 : 0;
}

static void place(struct kv_cache *kv, uint32_t seq, uint32_t i, struct kv_places *out)
{
    struct kv_seq *q = &kv->seqs[seq];
    const uint32_t base = seq * kv->n_ctx, pos = q->used++;
    out->seq_pos[i] = (int32_t)pos;
    out->pos[i] = (int32_t)(base + pos);
    for (int k = 0; k < KV_KINDS; k++) {
        struct kv_store *s = &kv->stores[k];
        if (s->seq_cells == 0) continue;
        const uint32_t cell = seq * s->seq_cells + pos % s->seq_cells;
        out->cells[k][i] = (int32_t)cell;
        out->first[k][i] = (int32_t)(base + first_seen(s, pos));
        put(s, cell, out->pos[i]);
        if (q->used > s->seq_cells && q->kept < q->used - s->seq_cells)
            q->kept = q->used - s->seq_cells;
    }
}

/* From the first cell of the lowest sequence to the last in use of the highest. */
static struct kv_range range_of(const struct kv_cache *kv, const struct kv_store *s, uint32_t low,
                                uint32_t high)
{
    const uint32_t used = kv->seqs[high].used;
    const uint32_t last = used < s->seq_cells ? used : s->seq_cells;
    return (struct kv_range){low * s->seq_cells, (high - low) * s->seq_cells + last};
}

enum status kv_claim(struct kv_cache *kv, uint32_t n, const uint32_t *seqs, struct kv_places *out,
                     struct err *e)
{
    uint32_t low = seqs ? seqs[0] : 0, high = low;
    enum status st = ST_OK;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t seq = seqs ? seqs[i] : 0;
        if (seq < low) low = seq;
        if (seq > high) high = seq;
        place(kv, seq, i, out);
    }
    for (int k = 0; k < KV_KINDS && st == ST_OK; k++) {
        out->range[k] = range_of(kv, &kv->stores[k], low, high);
        st = tell(kv, &kv->stores[k], e);
    }
    return st;
}

bool kv_holds(const struct kv_cache *kv, uint32_t seq, uint32_t pos)
{
    const struct kv_store *s = &kv->stores[KV_WINDOWED];
    return pos == 0 || s->seq_cells == 0 || first_seen(s, pos) >= kv->seqs[seq].kept;
}

void kv_rewind(struct kv_cache *kv, uint32_t seq, uint32_t pos)
{
    struct kv_seq *q = &kv->seqs[seq];
    if (pos >= q->used) return;
    q->used = pos;
    if (pos == 0) q->kept = 0;
}
