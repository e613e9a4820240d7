/* Launches collected and submitted, one by one or as a graph. */
#include "engine/cuda/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void queue_open(struct queue *q, const struct driver *d, cu_stream stream,
                const cu_function *functions, bool each)
{
    memset(q, 0, sizeof *q);
    q->driver = d;
    q->stream = stream;
    q->functions = functions;
    q->each = each;
    q->first = q->last = KERNEL_COUNT;
}

static void drop_graph(struct queue *q, struct queue_graph *g)
{
    if (g->exec) q->driver->graph_exec_destroy(g->exec);
    if (g->graph) q->driver->graph_destroy(g->graph);
    free(g->items);
    free(g->nodes);
    memset(g, 0, sizeof *g);
}

void queue_close(struct queue *q)
{
    if (!q->driver) return;
    for (size_t i = 0; i < QUEUE_GRAPHS; i++) drop_graph(q, &q->graphs[i]);
}

/* Everything but grid and arguments, which a graph can exchange. */
static bool same_shape(const struct queued *a, const struct queued *b)
{
    return a->kernel == b->kernel && a->block == b->block;
}

static uint64_t sequence_hash(const struct queue *q)
{
    uint64_t h = 0xcbf29ce484222325u ^ q->n;
    for (size_t i = 0; i < q->n; i++) {
        h = (h ^ q->items[i].kernel) * 0x100000001b3u;
        h = (h ^ q->items[i].block) * 0x100000001b3u;
    }
    return h | 1; /* never the value of an empty place */
}

/* True from the second time on. */
static bool seen_before(struct queue *q)
{
    uint64_t h = sequence_hash(q);
    for (size_t i = 0; i < QUEUE_SEEN; i++)
        if (q->seen[i] == h) return true;
    q->seen[q->clock % QUEUE_SEEN] = h;
    return false;
}

static struct queue_graph *find_graph(struct queue *q)
{
    for (size_t g = 0; g < QUEUE_GRAPHS; g++) {
        struct queue_graph *x = &q->graphs[g];
        size_t i = 0;
        if (!x->exec || x->n != q->n) continue;
        while (i < x->n && same_shape(&x->items[i], &q->items[i])) i++;
        if (i == x->n) return x;
    }
    return NULL;
}

static struct cu_kernel_node node_of(const struct queue *q, struct queued *item, void **args)
{
    args[0] = item->args;
    return (struct cu_kernel_node){.function = q->functions[item->kernel],
                                   .grid_x = item->grid_x,
                                   .grid_y = item->grid_y,
                                   .grid_z = 1,
                                   .block_x = item->block,
                                   .block_y = 1,
                                   .block_z = 1,
                                   .args = args};
}

static enum status fill_graph(struct queue *q, struct queue_graph *g, struct err *e)
{
    const struct driver *d = q->driver;
    void *args[1];
    TRY(CU(d, graph_create, (&g->graph, 0)));
    for (size_t i = 0; i < g->n; i++) {
        struct cu_kernel_node k = node_of(q, &g->items[i], args);
        const cu_node *after = i ? &g->nodes[i - 1] : NULL;
        TRY(CU_AT(d, kernel_table[g->items[i].kernel].name, graph_add_kernel,
                  (&g->nodes[i], g->graph, after, i ? 1 : 0, &k)));
    }
    return CU(d, graph_instantiate, (&g->exec, g->graph, 0));
}

/* A graph of the queued launches in the place used longest ago. */
static enum status make_graph(struct queue *q, struct queue_graph **out, struct err *e)
{
    struct queue_graph *g = &q->graphs[0];
    for (size_t i = 1; i < QUEUE_GRAPHS; i++)
        if (q->graphs[i].used < g->used) g = &q->graphs[i];
    drop_graph(q, g);
    g->n = q->n;
    g->items = alloc_array(q->n, sizeof *g->items);
    g->nodes = alloc_array(q->n, sizeof *g->nodes);
    enum status st;
    if (!g->items || !g->nodes) {
        st = fail(e, ST_NOMEM, "cuda: no memory for a graph of %zu launches", q->n);
    } else {
        memcpy(g->items, q->items, q->n * sizeof *g->items);
        st = fill_graph(q, g, e);
    }
    if (st != ST_OK) drop_graph(q, g);
    *out = g;
    return st;
}

/* Exchanges what differs from the last time, and launches. */
static enum status replay(struct queue *q, struct queue_graph *g, struct err *e)
{
    const struct driver *d = q->driver;
    void *args[1];
    for (size_t i = 0; i < g->n; i++) {
        if (memcmp(&g->items[i], &q->items[i], sizeof g->items[i]) == 0) continue;
        g->items[i] = q->items[i];
        struct cu_kernel_node k = node_of(q, &g->items[i], args);
        TRY(CU_AT(d, kernel_table[g->items[i].kernel].name, graph_set_kernel,
                  (g->exec, g->nodes[i], &k)));
    }
    g->used = ++q->clock;
    q->replays++;
    return CU(d, graph_launch, (g->exec, q->stream));
}

static enum status launch_one(struct queue *q, struct queued *item, struct err *e)
{
    const struct driver *d = q->driver;
    const char *name = kernel_table[item->kernel].name;
    void *args[1] = {item->args};
    TRY(CU_AT(d, name, launch,
              (q->functions[item->kernel], item->grid_x, item->grid_y, 1, item->block, 1, 1, 0,
               q->stream, args, NULL)));
    return q->each ? CU_AT(d, name, stream_wait, (q->stream)) : ST_OK;
}

enum status queue_submit(struct queue *q, struct err *e)
{
    enum status st = ST_OK;
    size_t n = q->n;
    if (n == 0) return ST_OK;
    q->first = q->items[0].kernel;
    q->last = q->items[n - 1].kernel;
    struct queue_graph *g = q->each ? NULL : find_graph(q);
    q->clock++;
    if (!g && !q->each && n > 1 && seen_before(q)) st = make_graph(q, &g, e);
    if (st == ST_OK && g) st = replay(q, g, e);
    for (size_t i = 0; st == ST_OK && !g && i < n; i++) st = launch_one(q, &q->items[i], e);
    q->n = 0;
    return st;
}

enum status queue_add(struct queue *q, const struct launch *l, struct err *e)
{
    struct queued *item = &q->items[q->n++];
    memset(item, 0, sizeof *item);
    item->kernel = l->kernel;
    item->grid_x = l->grid_x;
    item->grid_y = l->grid_y;
    item->block = l->block;
    memcpy(item->args, l->args, l->args_bytes);
    return q->n == QUEUE_MAX || q->each ? queue_submit(q, e) : ST_OK;
}

enum status queue_wait(struct queue *q, struct err *e)
{
    const struct driver *d = q->driver;
    char where[200] = "";
    TRY(queue_submit(q, e));
    if (q->first != KERNEL_COUNT)
        snprintf(where, sizeof where, "after kernels %s to %s (ASSAY_CUDA_SYNC=1 names the one)",
                 kernel_table[q->first].name, kernel_table[q->last].name);
    return CU_AT(d, where, stream_wait, (q->stream));
}
