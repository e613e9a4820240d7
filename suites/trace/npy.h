/* Arrays that numpy wrote (.npy): f32 or f64, little-endian, in C order. */
#ifndef LOCATE_NPY_H
#define LOCATE_NPY_H

#include "engine/base/base.h"

struct npy {
    float *values;     /* (rows, cols), malloc'd */
    size_t rows, cols; /* of the last dimension, and all before it */
};

bool npy_is(struct span bytes);
enum status npy_read(struct npy *out, struct span bytes, struct err *e);

#endif
