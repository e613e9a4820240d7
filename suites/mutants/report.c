/* Entries of mutants[]: one per mutant that was run. */
#include "mutants/mutant.h"
#include "reports/report_json.h"

void mutant_report(struct report *r, const struct mutant *m, const struct mutant_result *res)
{
    json_t *j = json_object();
    json_object_set_new(j, "class", report_text(m->fault));
    json_object_set_new(j, "name", report_text(m->name));
    json_object_set_new(j, "file", report_text(m->file));
    json_object_set_new(j, "from", report_text(m->from));
    json_object_set_new(j, "to", report_text(m->to));
    json_object_set_new(j, "subject", report_text(m->subject));
    json_object_set_new(j, "variant", *m->variant ? report_text(m->variant) : json_null());
    json_object_set_new(j, "filter", report_text(m->filter));
    json_object_set_new(j, "verdict", json_string(mutant_verdict_name(res->verdict)));
    json_object_set_new(j, "killed_by", *res->killer ? report_text(res->killer) : json_null());
    json_object_set_new(j, "status", *res->killer ? report_text(res->status) : json_null());
    json_object_set_new(j, "message", report_text(res->message));
    json_object_set_new(j, "used", report_number(res->used));
    json_object_set_new(j, "failed", json_integer((json_int_t)res->failed));
    json_object_set_new(j, "cases", json_integer((json_int_t)res->cases));
    json_object_set_new(j, "seconds", json_real(res->seconds));
    json_array_append_new(report_list(r, "mutants"), j);
}
