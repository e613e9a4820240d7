/* A GGUF container as the reference's source of a model. */
#ifndef SOURCE_H
#define SOURCE_H

#include "engine/gguf/gguf.h"
#include "reference/ref.h"

/* g must outlive the source and every model opened from it. Does not mark keys as used. */
struct ref_source source_of(const struct gguf *g);

/* Opens the reference's model over a container. */
enum status source_open(struct ref_model **out, const struct gguf *g, struct err *e);

#endif
