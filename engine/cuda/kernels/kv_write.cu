/* kv_write: row t of src goes to row cells[t] of the cache, rounded to its type. A thread per element
 * of a plain type. */
#include "cache.h"

DEVICE_FN void put_f32(uint8_t *cache, uint64_t i, float x)
{
    ((float *)(void *)cache)[i] = x;
}

DEVICE_FN void put_f16(uint8_t *cache, uint64_t i, float x)
{
    ((uint16_t *)(void *)cache)[i] = k_to_half(x);
}

DEVICE_FN void put_bf16(uint8_t *cache, uint64_t i, float x)
{
    ((uint16_t *)(void *)cache)[i] = k_to_bf16(x);
}

#define KV_WRITE_PLAIN(c)                                                                          \
    KERNEL_FN(kv_write_##c, kv_write)                                                              \
    {                                                                                              \
        uint64_t i = k_flat_index();                                                               \
        if (i >= (uint64_t)a.n_tokens * a.row) return;                                             \
        put_##c(a.cache, (uint32_t)a.cells[i / a.row] * (uint64_t)a.row + i % a.row, a.src[i]);    \
    }

#define CACHE(e, c, unit) KV_WRITE_##unit(c)
#include "cache.def"
#undef CACHE
