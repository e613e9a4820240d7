/* A device of cuda-sim to try operations on, and the operations that the suite tries. */
#ifndef CUDASIM_TRIAL_H
#define CUDASIM_TRIAL_H

#include "engine/backend.h"
#include "harness/harness.h"
#include "harness/random.h"

enum { CUDASIM_BUFFERS = 24 };

struct cudasim_trial {
    struct test *t;
    const struct backend_ops *ops;
    struct backend *b;
    struct err e;
    struct rng rng;
    struct dbuf *buffers[CUDASIM_BUFFERS];
    size_t n;
    bool ok; /* so far; operations do nothing once it is false */
};

/* Opens cuda-sim in a variant; false: skipped or failed. */
bool cudasim_open(struct cudasim_trial *s, struct test *t, const char *variant);
void cudasim_close(struct cudasim_trial *s);
/* A buffer of its own, so that its ends are the argument's. data NULL: not written. */
struct view cudasim_buffer(struct cudasim_trial *s, const void *data, size_t bytes);
struct view cudasim_weights(struct cudasim_trial *s, const void *data, size_t bytes);
float *cudasim_random(struct cudasim_trial *s, size_t n);
struct view cudasim_values(struct cudasim_trial *s, size_t n);
struct view cudasim_output(struct cudasim_trial *s, size_t n);

/* Operations with sizes that leave tails. kernel: what a mutant of that kernel is shown with. */
struct cudasim_operation {
    const char *kernel;
    enum status (*run)(struct cudasim_trial *s);
};
extern const struct cudasim_operation cudasim_operations[]; /* kernel NULL past the last */

/* Which cells are written, and which can be seen. */
struct cudasim_cells {
    uint32_t written, visible;
    bool one_cell; /* all tokens into cell 0 */
    enum tensor_type k_type, v_type;
    uint32_t head_dim, value_dim; /* 0: 32 */
};
enum { CUDASIM_CELLS = 70 };
enum status cudasim_attention(struct cudasim_trial *s, const struct cudasim_cells *c);

/* Every operation on weights of a type. id: of the last row to look up, 66 is the last. */
enum status cudasim_type(struct cudasim_trial *s, const struct type_spec *type, int32_t id);

#endif
