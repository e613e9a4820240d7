/* GGUF container: a bounds-checked reader over bytes in memory, and a writer. Views, never copies.
 * Format and rules: reference/spec/gguf.md. Version 2 and 3, little-endian. */
#ifndef GGUF_H
#define GGUF_H

#include "engine/base/base.h"
#include "spec/spec.h"

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT
};

enum { GGUF_MAX_DIMS = 4, GGUF_MAX_NAME = 63, GGUF_MAX_KEY = 65535 };

/* Bytes in the file, not terminated; may hold NUL in values, never in keys and tensor names. */
struct gguf_str {
    const char *data;
    size_t len;
};

struct gguf_kv {
    struct gguf_str key;
    enum gguf_type type;
    enum gguf_type elem; /* of an array; else equal to type */
    uint64_t count;      /* of an array; else 1 */
    const uint8_t *data; /* first byte of the value (of the first element); a string's is that
                             * of its length, a little-endian u64 */
    size_t bytes;        /* of all elements */
    uint64_t offset;     /* in the file, of the key */
    bool used;           /* set by every getter: what is never set is "unused" */
};

struct gguf_tensor {
    struct gguf_str name;
    uint32_t n_dims;
    uint64_t dims[GGUF_MAX_DIMS]; /* innermost first, missing ones 1 */
    const struct type_spec *type;
    uint64_t n_elems;
    uint64_t offset;     /* relative to the data section of its file */
    const uint8_t *data; /* NULL when only the header was asked for */
    size_t bytes;
    uint32_t part; /* which file of a split model, 0-based */
};

/* Owned by the caller; the bytes given to gguf_parse must outlive it. Fields are read-only. */
struct gguf {
    uint32_t version;
    uint64_t alignment;
    uint64_t data_offset; /* of the first file */
    size_t n_kv, n_tensors;
    struct gguf_kv *kv;
    struct gguf_tensor *tensors;
    struct gguf_index *key_index, *name_index;
    struct arena arena;
    struct file *files; /* of gguf_open: one per part */
    size_t n_files;
};

/* Parses bytes. header_only: tensors get no data and the data section may be absent. Errors:
 * ST_FORMAT with the byte offset and the offending number; ST_NOMEM. On failure *out is empty and
 * needs no gguf_close. */
enum status gguf_parse(struct gguf *out, struct span bytes, bool header_only, struct err *e);

/* Opens a file, plain or gzip-compressed; a name NAME-00001-of-0000N.gguf opens all N parts
 * (metadata from the first, tensors from all). Messages begin with the path. */
enum status gguf_open(struct gguf *out, const char *path, struct err *e);
void gguf_close(struct gguf *g);

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name);
/* Does not mark the key as used. */
struct gguf_kv *gguf_find(const struct gguf *g, const char *key);

/* Values by key. A getter returns ST_OK, or ST_FORMAT when the key is missing or its value is of
 * another kind or out of range; the message names key, kind and value. Integers of any width and
 * sign are taken where the value fits; floats as f32 or f64; bool also as integer 0 or 1. */
enum status gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out, struct err *e);
enum status gguf_get_i64(const struct gguf *g, const char *key, int64_t *out, struct err *e);
enum status gguf_get_f64(const struct gguf *g, const char *key, double *out, struct err *e);
enum status gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct err *e);
enum status gguf_get_str(const struct gguf *g, const char *key, struct gguf_str *out,
                         struct err *e);

/* Elements of a value, i < kv->count (a scalar counts as an array of one). False when the kind
 * does not fit. They mark the key as used. */
bool gguf_value_f64(struct gguf_kv *kv, uint64_t i, double *out);  /* any number or bool */
bool gguf_value_i64(struct gguf_kv *kv, uint64_t i, int64_t *out); /* integers and bool */
/* All strings of an array at once into out[count] (strings vary in length: one pass). */
bool gguf_value_strings(struct gguf_kv *kv, struct gguf_str *out);

const char *gguf_type_name(enum gguf_type t);
size_t gguf_type_size(enum gguf_type t); /* 0 for string and array */

/* Writer: collects metadata and tensors, then writes a version 3 file. Data is not copied: it
 * must stay valid until gguf_writer_save. Same name twice, a dimension that does not fill blocks,
 * or a name too long is an error at the call. */
struct gguf_writer;
enum status gguf_writer_open(struct gguf_writer **out, struct err *e);
void gguf_writer_close(struct gguf_writer *w);
enum status gguf_put_kv(struct gguf_writer *w, const struct gguf_kv *kv,
                        struct err *e); /* as read */
enum status gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v, struct err *e);
enum status gguf_put_f32(struct gguf_writer *w, const char *key, float v, struct err *e);
enum status gguf_put_bool(struct gguf_writer *w, const char *key, bool v, struct err *e);
enum status gguf_put_str(struct gguf_writer *w, const char *key, const char *v, struct err *e);
enum status gguf_put_strs(struct gguf_writer *w, const char *key, const char *const *v, size_t n,
                          struct err *e);
enum status gguf_put_u32s(struct gguf_writer *w, const char *key, const uint32_t *v, size_t n,
                          struct err *e);
enum status gguf_put_i32s(struct gguf_writer *w, const char *key, const int32_t *v, size_t n,
                          struct err *e);
enum status gguf_put_f32s(struct gguf_writer *w, const char *key, const float *v, size_t n,
                          struct err *e);
/* data holds type_bytes of the product of dims. */
enum status gguf_put_tensor(struct gguf_writer *w, const char *name, enum tensor_type type,
                            uint32_t n_dims, const uint64_t *dims, const void *data, struct err *e);
/* general.alignment is taken from a put key of that name, else 32. Written under a temporary name
 * and renamed; gzip: compressed, with no time stamp, so equal inputs give equal bytes. */
enum status gguf_writer_save(struct gguf_writer *w, const char *path, bool gzip, struct err *e);

#endif
