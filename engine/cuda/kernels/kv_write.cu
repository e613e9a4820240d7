/* kv_write: row t of src goes to row cells[t] of the cache, rounded to its type. A thread per element
 * of a plain type, per block of 32 of the others.
 *
 * MUTANT_cell is a deliberate fault that cuda-sim must report. */
#include "cache.h"
#include "decode/cache_encode.h"

#ifdef MUTANT_cell
#define CELL(id) ((uint64_t)(uint32_t)(id) + 1)
#else
#define CELL(id) ((uint64_t)(uint32_t)(id))
#endif

DEVICE_FN void put_f32(uint8_t *cache, uint64_t i, float x)
{
    ((float *)(void *)cache)[i] = x;
}

DEVICE_FN void put_f16(uint8_t *cache, uint64_t i, float x)
{
    ((uint16_t *)(void *)cache)[i] = (uint16_t)enc_half(x);
}

DEVICE_FN void put_bf16(uint8_t *cache, uint64_t i, float x)
{
    ((uint16_t *)(void *)cache)[i] = (uint16_t)enc_bf16(x);
}

#define KV_WRITE_PLAIN(c)                                                                          \
    KERNEL_FN(kv_write_##c, kv_write)                                                              \
    {                                                                                              \
        uint64_t i = k_flat_index();                                                               \
        if (i >= (uint64_t)a.n_tokens * a.row) return;                                             \
        put_##c(a.cache, CELL(a.cells[i / a.row]) * a.row + i % a.row, a.src[i]);                  \
    }

#define KV_WRITE_BLOCK(c)                                                                          \
    KERNEL_FN(kv_write_##c, kv_write)                                                              \
    {                                                                                              \
        uint32_t n_blocks = a.row / ELEMS_##c;                                                     \
        uint64_t i = k_flat_index();                                                               \
        float x[ELEMS_##c];                                                                        \
        if (i >= (uint64_t)a.n_tokens * n_blocks) return;                                          \
        uint64_t to = CELL(a.cells[i / n_blocks]) * n_blocks + i % n_blocks;                       \
        for (uint32_t j = 0; j < ELEMS_##c; j++) x[j] = a.src[i * ELEMS_##c + j];                  \
        encode32_##c(x, a.cache + to * BYTES_##c);                                                 \
    }

#define CACHE(e, c, unit) KV_WRITE_##unit(c)
#include "cache.def"
#undef CACHE
