/* Makes a page: fills page/page.html with style, scripts and data. */
#ifndef PAGE_H
#define PAGE_H

#include "reports/buffer.h"

/* Appends the page. script: name of the embedded file that draws the page. summary: a sentence that
 * readers without scripts see, too. data: what the script draws. */
enum status page_make(struct buffer *out, const char *title, const char *summary,
                      const char *script, const json_t *data, struct err *e);

#endif
