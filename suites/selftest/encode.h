/* The two halves of the encode suite. */
#ifndef ENCODE_H
#define ENCODE_H

#include "harness/harness.h"

/* Mixes and whole models. */
void encode_add_model_cases(struct case_list *l);

#endif
