/* llama.cpp's names of the values at sites; see locate_names.def. */
#ifndef LOCATE_NAMES_H
#define LOCATE_NAMES_H

#include "trace/site.h"

/* The site that a name without its layer stands for in a layer of a model (NULL: of a plain one).
 * Products with Q and K in them have one name before and after RoPE: rotated tells which. *rank: of
 * two tensors of a site the one with the higher rank counts. SITE_COUNT: none. */
enum site llama_site(const struct site_model *m, uint32_t layer, const char *name, size_t len,
                     bool rotated, size_t *rank);

#endif
