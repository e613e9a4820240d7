/* The KV cache. */
#include "kv.h"

enum status kv_open(struct kv_cache *kv, struct arena *a, struct err *e)
{
    const struct backend_ops *ops = backend_ops_of(kv->be);
    size_t k_bytes, v_bytes;
    if (!mul_size(type_bytes(type_by_id(kv->k_type), kv->row), kv->n_cells, &k_bytes) ||
        !mul_size(type_bytes(type_by_id(kv->v_type), kv->row), kv->n_cells, &v_bytes))
        return fail(e, ST_RANGE, "a KV cache of %u cells of %u values does not fit in memory",
                    kv->n_cells, kv->row);
    kv->layers = arena_alloc(a, kv->n_layers, sizeof *kv->layers);
    kv->host_pos = arena_alloc(a, kv->n_cells, sizeof *kv->host_pos);
    if (!kv->layers || !kv->host_pos)
        return fail(e, ST_NOMEM, "out of memory for a KV cache of %u cells", kv->n_cells);
    for (uint32_t i = 0; i < kv->n_layers; i++) {
        enum status st = ops->alloc(kv->be, k_bytes, &kv->layers[i].k, e);
        if (st == ST_OK) st = ops->alloc(kv->be, v_bytes, &kv->layers[i].v, e);
        if (st != ST_OK) return st;
    }
    for (uint32_t c = 0; c < kv->n_cells; c++) kv->host_pos[c] = -1;
    kv->used = 0;
    kv->dirty_lo = 0;
    kv->dirty_hi = kv->n_cells;
    return ops->alloc(kv->be, kv->n_cells * sizeof(int32_t), &kv->cell_pos, e);
}

void kv_close(struct kv_cache *kv)
{
    if (!kv->be) return;
    const struct backend_ops *ops = backend_ops_of(kv->be);
    for (uint32_t i = 0; kv->layers && i < kv->n_layers; i++) {
        ops->release(kv->be, kv->layers[i].k);
        ops->release(kv->be, kv->layers[i].v);
    }
    ops->release(kv->be, kv->cell_pos);
}

static void mark_dirty(struct kv_cache *kv, uint32_t lo, uint32_t hi)
{
    if (kv->dirty_lo >= kv->dirty_hi) {
        kv->dirty_lo = lo;
        kv->dirty_hi = hi;
        return;
    }
    if (lo < kv->dirty_lo) kv->dirty_lo = lo;
    if (hi > kv->dirty_hi) kv->dirty_hi = hi;
}

enum status kv_claim(struct kv_cache *kv, uint32_t n, int32_t *pos, int32_t *cells, struct err *e)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t cell = kv->used + i;
        pos[i] = cells[i] = kv->host_pos[cell] = (int32_t)cell;
    }
    mark_dirty(kv, kv->used, kv->used + n);
    kv->used += n;
    struct view dst = {kv->cell_pos, kv->dirty_lo * sizeof(int32_t)};
    enum status st =
        backend_ops_of(kv->be)->upload(kv->be, dst, kv->host_pos + kv->dirty_lo,
                                       (kv->dirty_hi - kv->dirty_lo) * sizeof(int32_t), e);
    if (st == ST_OK) kv->dirty_lo = kv->dirty_hi = 0;
    return st;
}

void kv_rewind(struct kv_cache *kv, uint32_t pos)
{
    if (pos >= kv->used) return;
    for (uint32_t c = pos; c < kv->used; c++) kv->host_pos[c] = -1;
    mark_dirty(kv, pos, kv->used);
    kv->used = pos;
}
