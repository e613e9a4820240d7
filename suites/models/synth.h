/* Random models of any architecture and shape, streamed to a file: to measure speed with, to load,
 * to judge. See synth.def for what they are made of. */
#ifndef SYNTH_H
#define SYNTH_H

#include "engine/base/base.h"
#include "spec/spec.h"

struct synth_options {
    const char *arch, *shape; /* names of synth.def; as architecture also its alias "mixtral" */
    const struct type_spec
        *type;       /* of every matrix; what does not fill its blocks: as mix.h says */
    const char *out; /* appears only when complete */
    uint32_t layers; /* 0: as many as the shape has */
    uint64_t seed;
    bool progress; /* a bar */
};

struct synth_done {
    uint32_t layers;
    size_t weights;
    uint64_t bytes;
    /* Matrices whose rows do not fill blocks of the type, and what they got instead. */
    size_t n_other;
    enum tensor_type other;
};

/* The same options and seed give the same file. ST_USAGE with one line for what is unknown;
 * interrupt_caught() ends the work with ST_CANCELLED. */
enum status synth_write(const struct synth_options *o, struct synth_done *done, struct err *e);

/* Names of architectures and shapes; NULL past the last. */
const char *synth_arch(size_t i);
const char *synth_shape(size_t i);
/* The number of an architecture's name; ST_USAGE with all of them in the error. */
enum status synth_find_arch(const char *name, size_t *out, struct err *e);
/* True if models with this general.architecture can be made. */
bool synth_makes(const char *architecture);

#endif
