/* Nearest points of the IQ grids. A grid is a small subset of all combinations of a few letters;
 * a group of values is rounded letter by letter, and the combination found that way has a list of
 * grid points near to it, of which the one nearest to the values themselves is taken. If the
 * combination is a grid point, no other can be nearer, and it is the whole list.
 */
#include "reference/encode_priv.h"

#include "reference/codebook.h"

#include <pthread.h>
#include <string.h>

/* MAX_PART: combinations of one part of a group: two letters of three, or one of eight. */
enum { MAX_ENTRIES = 2048, MAX_KEYS = 6561, MAX_PART = 9, PARTS = 4, N_NEAR = 16 };

/* A group is cut into four parts, of two values or of one: the cost of an entry is the sum of
 * four numbers looked up. The key of a combination has the parts as its digits. */
struct enc_book {
    const struct ref_grid *grid;
    uint32_t n_letters, n_part, n_keys;
    float letters[8], middles[7];
    uint8_t parts[MAX_ENTRIES][PARTS];
    float levels[MAX_ENTRIES][8];
    int16_t index[MAX_KEYS];         /* of the entry with this key, -1 if there is none */
    uint16_t near[MAX_KEYS][N_NEAR]; /* nearest first */
};

static const struct ref_grid *const grids[BOOK_COUNT] = {
    [BOOK_IQ2XXS] = &ref_grid_iq2xxs, [BOOK_IQ2XS] = &ref_grid_iq2xs, [BOOK_IQ2S] = &ref_grid_iq2s,
    [BOOK_IQ3XXS] = &ref_grid_iq3xxs, [BOOK_IQ3S] = &ref_grid_iq3s,   [BOOK_IQ1S] = &ref_grid_iq1s};

static struct enc_book books[BOOK_COUNT];

static uint32_t key_of(const struct enc_book *b, const uint8_t *parts)
{
    uint32_t key = 0;
    for (int p = PARTS - 1; p >= 0; p--) key = key * b->n_part + parts[p];
    return key;
}

/* The parts of a group of levels. */
static void parts_of(const struct enc_book *b, const float *level, uint8_t *parts)
{
    uint32_t per = (uint32_t)b->grid->n_elems / PARTS;
    for (uint32_t p = 0; p < PARTS; p++) {
        uint32_t part = 0;
        for (uint32_t k = per; k-- > 0;) {
            uint32_t letter = 0;
            while (letter + 1 < b->n_letters && b->letters[letter] < level[p * per + k]) letter++;
            part = part * b->n_letters + letter;
        }
        parts[p] = (uint8_t)part;
    }
}

/* The nearest entries to one combination, by insertion into a short sorted list. */
static void build_list(struct enc_book *b, uint32_t key, uint32_t dist[MAX_PART][MAX_PART])
{
    uint32_t found[N_NEAR], n = 0;
    const uint32_t *row[PARTS];
    uint32_t rest = key;
    for (int p = 0; p < PARTS; p++, rest /= b->n_part) row[p] = dist[rest % b->n_part];
    for (uint32_t i = 0; i < b->grid->n_entries; i++) {
        const uint8_t *q = b->parts[i];
        uint32_t d = row[0][q[0]] + row[1][q[1]] + row[2][q[2]] + row[3][q[3]];
        if (n == N_NEAR && d >= found[n - 1]) continue;
        uint32_t at = n < N_NEAR ? n++ : n - 1;
        for (; at > 0 && found[at - 1] > d; at--) {
            found[at] = found[at - 1];
            b->near[key][at] = b->near[key][at - 1];
        }
        found[at] = d;
        b->near[key][at] = (uint16_t)i;
    }
}

/* Squared distances between the combinations of one part. */
static void part_distances(const struct enc_book *b, uint32_t dist[MAX_PART][MAX_PART])
{
    bool pair = b->grid->n_elems > PARTS;
    for (uint32_t i = 0; i < b->n_part; i++) {
        for (uint32_t k = 0; k < b->n_part; k++) {
            int d0 = b->grid->letters[i % b->n_letters] - b->grid->letters[k % b->n_letters];
            int d1 =
                pair ? b->grid->letters[i / b->n_letters] - b->grid->letters[k / b->n_letters] : 0;
            dist[i][k] = (uint32_t)(d0 * d0 + d1 * d1);
        }
    }
}

static void build(enum enc_book_id id)
{
    struct enc_book *b = &books[id];
    const struct ref_grid *g = b->grid = grids[id];
    b->n_letters = g->bits == 2 ? 3 : 8;
    b->n_part = g->n_elems > PARTS ? b->n_letters * b->n_letters : b->n_letters;
    b->n_keys = b->n_part * b->n_part * b->n_part * b->n_part;
    for (uint32_t k = 0; k < b->n_letters; k++) {
        b->letters[k] = g->letters[k];
        if (k > 0) b->middles[k - 1] = 0.5f * (b->letters[k - 1] + b->letters[k]);
    }
    memset(b->index, -1, sizeof b->index);
    for (uint32_t i = 0; i < g->n_entries; i++) {
        for (size_t j = 0; j < g->n_elems; j++) b->levels[i][j] = (float)ref_grid_at(g, i, j);
        parts_of(b, b->levels[i], b->parts[i]);
        b->index[key_of(b, b->parts[i])] = (int16_t)i;
    }
    uint32_t dist[MAX_PART][MAX_PART];
    part_distances(b, dist);
    for (uint32_t key = 0; key < b->n_keys; key++) {
        if (b->index[key] < 0) build_list(b, key, dist);
    }
}

/* pthread_once takes a function without arguments: one per book. */
static void build_iq2xxs(void)
{
    build(BOOK_IQ2XXS);
}
static void build_iq2xs(void)
{
    build(BOOK_IQ2XS);
}
static void build_iq2s(void)
{
    build(BOOK_IQ2S);
}
static void build_iq3xxs(void)
{
    build(BOOK_IQ3XXS);
}
static void build_iq3s(void)
{
    build(BOOK_IQ3S);
}
static void build_iq1s(void)
{
    build(BOOK_IQ1S);
}

const struct enc_book *ref_enc_book(enum enc_book_id id)
{
    static pthread_once_t once[BOOK_COUNT] = {PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT,
                                              PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT,
                                              PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT};
    static void (*const builder[BOOK_COUNT])(void) = {
        [BOOK_IQ2XXS] = build_iq2xxs, [BOOK_IQ2XS] = build_iq2xs, [BOOK_IQ2S] = build_iq2s,
        [BOOK_IQ3XXS] = build_iq3xxs, [BOOK_IQ3S] = build_iq3s,   [BOOK_IQ1S] = build_iq1s};
    pthread_once(&once[id], builder[id]);
    return &books[id];
}

/* Costs of all combinations of each part of the group v, and the key of the cheapest ones. Pairs:
 * two of three letters. */
static uint32_t cost_pairs(const struct enc_book *b, const float *v, const float *w,
                           float cost[PARTS][MAX_PART])
{
    static const uint32_t digit[PARTS] = {1, 9, 81, 729};
    float single[3][8];
    uint32_t letter[8], key = 0;
    for (int k = 0; k < 3; k++) {
        for (int j = 0; j < 8; j++) {
            float diff = v[j] - b->letters[k];
            single[k][j] = w[j] * diff * diff;
        }
    }
    for (int j = 0; j < 8; j++)
        letter[j] = (v[j] > b->middles[0] ? 1u : 0) + (v[j] > b->middles[1] ? 1u : 0);
    for (int p = 0; p < PARTS; p++) {
        key += digit[p] * (letter[2 * p] + 3 * letter[2 * p + 1]);
        for (int k = 0; k < 9; k++) cost[p][k] = single[k % 3][2 * p] + single[k / 3][2 * p + 1];
    }
    return key;
}

/* The same for one of eight letters. */
static uint32_t cost_letters(const struct enc_book *b, const float *v, const float *w,
                             float cost[PARTS][MAX_PART])
{
    uint32_t key = 0;
    for (int p = PARTS - 1; p >= 0; p--) {
        uint32_t letter = 0;
        for (int k = 0; k < 7; k++) letter += v[p] > b->middles[k];
        key = key * 8 + letter;
        for (int k = 0; k < 8; k++) {
            float diff = v[p] - b->letters[k];
            cost[p][k] = w[p] * diff * diff;
        }
    }
    return key;
}

/* The entry nearest to v; its cost is added to *total. */
static uint32_t nearest_entry(const struct enc_book *b, const float *v, const float *w,
                              float *total)
{
    float cost[PARTS][MAX_PART];
    bool pairs = b->n_letters == 3;
    uint32_t key = pairs ? cost_pairs(b, v, w, cost) : cost_letters(b, v, w, cost);
    uint32_t best = (uint32_t)b->index[key];
    if (b->index[key] >= 0) {
        const uint8_t *q = b->parts[best];
        *total += (cost[0][q[0]] + cost[1][q[1]]) + (cost[2][q[2]] + cost[3][q[3]]);
        return best;
    }
    float least = 0;
    for (int k = 0; k < N_NEAR; k++) {
        uint32_t i = b->near[key][k];
        const uint8_t *q = b->parts[i];
        float c = (cost[0][q[0]] + cost[1][q[1]]) + (cost[2][q[2]] + cost[3][q[3]]);
        if (k > 0 && !(c < least)) continue;
        least = c;
        best = i;
    }
    *total += least;
    return best;
}

void ref_enc_nearest_book(const struct enc_form *f, const float *x, const float *w, float inv,
                          float *level)
{
    size_t dims = f->book->grid->n_elems;
    float total = 0;
    for (size_t i = 0; i < f->len; i += dims) {
        float v[8];
        for (size_t j = 0; j < dims; j++) v[j] = x[i + j] * inv;
        uint32_t entry = nearest_entry(f->book, v, w + i, &total);
        memcpy(level + i, f->book->levels[entry], dims * sizeof *level);
    }
}

/* Levels of n values with the shift `delta`; returns the cost. */
static float with_delta(const struct enc_form *f, const float *x, const float *w, float inv,
                        float delta, size_t n, float *level)
{
    float total = 0;
    for (size_t i = 0; i < n; i += 8) {
        float v[8];
        for (size_t j = 0; j < 8; j++) v[j] = x[i + j] * inv - delta;
        uint32_t entry = nearest_entry(f->book, v, w + i, &total);
        for (size_t j = 0; j < 8; j++) level[i + j] = f->book->levels[entry][j] + delta;
    }
    return total;
}

static void better_delta(const struct enc_form *f, const float *x, const float *w, float inv,
                         size_t n, float *level)
{
    float other[ENC_MAX];
    float up = with_delta(f, x, w, inv, 0.125f, n, level);
    float down = with_delta(f, x, w, inv, -0.125f, n, other);
    if (down < up) memcpy(level, other, n * sizeof *level);
}

void ref_enc_nearest_delta(const struct enc_form *f, const float *x, const float *w, float inv,
                           float *level)
{
    better_delta(f, x, w, inv, f->len, level);
}

void ref_enc_nearest_delta8(const struct enc_form *f, const float *x, const float *w, float inv,
                            float *level)
{
    for (size_t i = 0; i < f->len; i += 8) better_delta(f, x + i, w + i, inv, 8, level + i);
}

uint32_t ref_enc_book_index(const struct enc_book *book, const float *level)
{
    uint8_t parts[PARTS];
    parts_of(book, level, parts);
    return (uint32_t)book->index[key_of(book, parts)];
}
