/* Row windows: see window.h. */
#include "engine/vulkan/window.h"

uint32_t segment_count(const struct segments *s)
{
    if (s->stride == 0 || s->bytes <= s->stride) return 1;
    return (uint32_t)((s->bytes + s->stride - 1) / s->stride);
}

uint64_t segment_bytes(const struct segments *s, uint32_t i)
{
    if (s->stride == 0) return s->bytes;
    uint64_t left = s->bytes - i * s->stride, most = s->stride + s->overlap;
    return left < most ? left : most;
}

bool window_at(const struct window_plan *p, uint32_t row, struct window *out)
{
    uint64_t begin = p->at + row * p->row_bytes;
    uint32_t segment = p->segments.stride ? (uint32_t)(begin / p->segments.stride) : 0;
    uint64_t local = begin - segment * p->segments.stride;
    uint64_t offset = local & ~(p->align - 1), residual = local - offset;
    uint64_t limit = p->limit < WINDOW_LIMIT ? p->limit : WINDOW_LIMIT;
    uint64_t held = segment_bytes(&p->segments, segment) - offset;
    uint64_t room = limit - WINDOW_SLACK < held ? limit - WINDOW_SLACK : held;
    if (p->row_bytes == 0 || room < residual + p->row_bytes) return false;
    uint64_t rows = (room - residual) / p->row_bytes;
    if (rows > p->n_rows - row) rows = p->n_rows - row;
    uint64_t end = residual + rows * p->row_bytes;
    *out = (struct window){.row0 = row,
                           .n_rows = (uint32_t)rows,
                           .segment = segment,
                           .offset = offset,
                           .size = (end + 15) / 16 * 16 + 16,
                           .residual = (uint32_t)residual};
    return true;
}
