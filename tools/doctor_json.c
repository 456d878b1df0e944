/* doctor_json.c: the doctor's report as one JSON object. */
#include <string.h>

#include "tools/doctor.h"
#include "tools/json.h"

/* Other processes' strings are any bytes; JSON wants UTF-8. */
static json_t *text_of(const char *text) {
  char clean[256];
  if (!text) return json_null();
  json_t *string = json_string(text);
  return string ? string : json_string(dr_doctor_clean(clean, text));
}

static void append(json_t *array, json_t *item) { json_array_append_new(array, item); }

static json_t *machine_of(const dr_machine *machine) {
  return json_pack("{s:o, s:i, s:i, s:i, s:i, s:s, s:s, s:b}", "cpu", text_of(machine->cpu), "num_cpus",
                   machine->num_cpus, "threads_per_core", machine->threads_per_core, "numa_nodes", machine->num_nodes,
                   "numa_nodes_in_mask", machine->num_mask_nodes, "mask", machine->mask, "allocator",
                   machine->allocator, "jemalloc_found", machine->has_jemalloc);
}

static json_t *cores_of(const drover_threads_view *view) {
  json_t *quotas = json_array();
  for (int32_t i = 0; i < view->num_quotas; i++)
    append(quotas, json_pack("{s:f, s:o}", "cores", view->quotas[i].cores, "path", text_of(view->quotas[i].path)));
  return json_pack("{s:i, s:i, s:o, s:o}", "num_cores", view->cores.num_cores, "num_affinity", view->cores.num_affinity,
                   "quota", view->cores.quota > 0 ? dr_json_number(view->cores.quota) : json_null(), "quotas", quotas);
}

static json_t *variables_of(const drover_threads_view *view) {
  json_t *variables = json_object();
  for (int32_t i = 0; i < view->num_variables; i++)
    json_object_set_new(variables, view->variables[i].name, text_of(view->variables[i].value));
  return variables;
}

static json_t *libraries_of(const drover_threads_view *view) {
  json_t *libraries = json_array();
  for (int32_t i = 0; i < view->num_libraries; i++) {
    const drover_thread_library *library = &view->libraries[i];
    append(
        libraries,
        json_pack("{s:s, s:o, s:o, s:o, s:o, s:s, s:b, s:b}", "kind", drover_library_kind_name(library->kind), "path",
                  text_of(library->path), "version", text_of(library->version), "detail", text_of(library->detail),
                  "limit", library->limit > 0 ? json_integer(library->limit) : json_null(), "scope",
                  drover_limit_scope_name(library->scope), "guarded", library->guarded, "regions", library->regions));
  }
  return libraries;
}

static json_t *threads_of(const drover_threads_view *view) {
  json_t *threads = json_array();
  for (int32_t i = 0; i < view->num_threads; i++) {
    const drover_thread *thread = &view->threads[i];
    const char state[2] = {thread->state, '\0'};
    append(threads,
           json_pack("{s:i, s:o, s:o, s:f, s:i, s:I, s:I}", "tid", thread->tid, "name", text_of(thread->name), "state",
                     text_of(state), "cpu_s", thread->cpu_seconds, "num_cpus", thread->num_cpus, "voluntary_switches",
                     (json_int_t)thread->voluntary_switches, "forced_switches", (json_int_t)thread->forced_switches));
  }
  return threads;
}

static void add_findings(json_t *array, int32_t count, const drover_finding *findings) {
  for (int32_t i = 0; i < count; i++)
    append(array,
           json_pack("{s:s, s:s, s:o, s:o}", "severity", drover_severity_name(findings[i].severity), "code",
                     findings[i].code, "text", text_of(findings[i].text), "remedy", text_of(findings[i].remedy)));
}

int dr_doctor_print_json(const dr_machine *machine, const drover_threads_view *view, bool is_self) {
  json_t *findings = json_array();
  add_findings(findings, view->num_findings, view->findings);
  add_findings(findings, machine->num_findings, machine->findings);
  json_t *budget = json_pack("{s:i, s:i, s:i}", "num_workers", view->num_workers, "threads_at_once",
                             view->threads_at_once, "num_cores", view->cores.num_cores);
  json_t *seen =
      is_self ? json_null()
              : json_pack("{s:f, s:i}", "runnable_mean", view->runnable_mean, "runnable_max", view->runnable_max);
  json_t *report = json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:o}", "pid", view->pid,
                             "command", text_of(view->command), "machine", machine_of(machine), "cores", cores_of(view),
                             "environment", variables_of(view), "libraries", libraries_of(view), "threads",
                             threads_of(view), "budget", budget, "seen", seen, "environment_known",
                             view->environment_known, "libraries_known", view->libraries_known, "findings", findings);
  return report ? dr_json_print(report) : -1;
}
