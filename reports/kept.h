/* One page about many reports: how budget used, pass counts and speed went over versions. */
#ifndef KEPT_H
#define KEPT_H

#include "reports/buffer.h"

enum status kept_page(struct buffer *out, const char *const *paths, size_t n, struct err *e);

#endif
