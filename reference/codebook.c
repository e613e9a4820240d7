/* The grids, from the figures in spec/codebook.def. */
#include "reference/codebook.h"

static const uint16_t iq2xxs_codes[256] = {
#define CODEBOOK_IQ2XXS
#include "spec/codebook.def"
};
static const uint16_t iq2xs_codes[512] = {
#define CODEBOOK_IQ2XS
#include "spec/codebook.def"
};
static const uint16_t iq2s_codes[1024] = {
#define CODEBOOK_IQ2S
#include "spec/codebook.def"
};
static const uint16_t iq3xxs_codes[256] = {
#define CODEBOOK_IQ3XXS
#include "spec/codebook.def"
};
static const uint16_t iq3s_codes[512] = {
#define CODEBOOK_IQ3S
#include "spec/codebook.def"
};
static const uint16_t iq1s_codes[2048] = {
#define CODEBOOK_IQ1S
#include "spec/codebook.def"
};

const struct ref_grid ref_grid_iq2xxs = {iq2xxs_codes, 256, 8, 2, {8, 25, 43}};
const struct ref_grid ref_grid_iq2xs = {iq2xs_codes, 512, 8, 2, {8, 25, 43}};
const struct ref_grid ref_grid_iq2s = {iq2s_codes, 1024, 8, 2, {8, 25, 43}};
const struct ref_grid ref_grid_iq3xxs = {iq3xxs_codes, 256, 4, 3, {4, 12, 20, 28, 36, 44, 52, 62}};
const struct ref_grid ref_grid_iq3s = {iq3s_codes, 512, 4, 3, {1, 3, 5, 7, 9, 11, 13, 15}};
const struct ref_grid ref_grid_iq1s = {iq1s_codes, 2048, 8, 2, {-1, 0, 1}};

const int8_t ref_levels_iq4nl[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};
const int8_t ref_levels_fp4[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
