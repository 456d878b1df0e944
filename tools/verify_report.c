/* verify_report.c: what `drover verify` found, as a table or as JSON. */
#include <inttypes.h>
#include <stdio.h>

#include "tools/json.h"
#include "tools/verify.h"

static const char *const mode_names[DR_VERIFY_NUM_MODES] = {"fused", "barrier", "halves", "wider", "step", "send/recv"};

/* The runs of one mode with so many workers, as a word for the table. */
static const char *verdict(const dr_verify_grid *g, dr_verify_mode m, int32_t workers, int32_t *joined) {
  int32_t num_runs = 0, num_equal = 0;
  for (int32_t i = 0; i < g->num_runs; i++) {
    const dr_verify_run *r = &g->runs[i];
    if (r->mode != m || r->workers != workers) continue;
    num_runs++;
    num_equal += r->equal;
    if (r->joined > *joined) *joined = r->joined;
  }
  return num_runs == 0 ? "-" : num_runs == num_equal ? "ok" : "DIFFERS";
}

static void print_difference(const dr_verify_difference *d) {
  const dr_verify_run *r = &d->where;
  char shard[16] = "auto", chunk[16] = "auto";
  if (r->shard) snprintf(shard, sizeof shard, "%d", (int)r->shard);
  if (r->chunk) snprintf(chunk, sizeof chunk, "%d", (int)r->chunk);
  printf("\nFirst difference: %s, --workers %d, shard %s, chunk %s%s\n", mode_names[r->mode], (int)r->workers, shard,
         chunk, r->scalar ? ", scalar steps" : "");
  if (d->step < 0)
    printf("  %s: the loop has %g, the run %g of them\n", d->field, d->expected, d->got);
  else if (d->env < 0)
    printf("  %s[%" PRId64 "], word %" PRId64 ": the loop has %.9g (%08" PRIx64 "), the run %.9g (%08" PRIx64 ")\n",
           d->field, d->step, d->element, d->expected, d->expected_bits, d->got, d->got_bits);
  else
    printf("  %s at step %" PRId64 ", env %" PRId64 ", element %" PRId64 ": the loop has %.9g (%08" PRIx64
           "), the run %.9g (%08" PRIx64 ")\n",
           d->field, d->step, d->env, d->element, d->expected, d->expected_bits, d->got, d->got_bits);
}

void dr_verify_print(const dr_verify_grid *g) {
  const dr_options *c = &g->request->common;
  printf("%s, %d envs, %d steps, policy %s, seed %" PRIu64 "\n", g->request->type->name, (int)c->num_envs,
         (int)c->num_steps, c->policy, c->seed);
  printf("Against a plain loop over the env's functions on one thread, byte for byte:\n\n%-10s", "workers");
  for (int m = 0; m < DR_VERIFY_NUM_MODES; m++) printf("  %-9s", mode_names[m]);
  printf("  joined\n");
  for (int w = 0; w < DR_VERIFY_NUM_WORKERS; w++) {
    int32_t joined = 0;
    printf("%-10d", (int)dr_verify_worker_counts[w]);
    for (dr_verify_mode m = 0; m < DR_VERIFY_NUM_MODES; m++)
      printf("  %-9s", verdict(g, m, dr_verify_worker_counts[w], &joined));
    printf("  %d\n", (int)joined);
  }
  if (g->first.found) print_difference(&g->first);
  printf("\n%d of %d runs give the loop's bytes (shards auto, 1, 7 and all; chunks auto and 3; %s)", (int)g->num_equal,
         (int)g->num_runs, g->request->type->step_many ? "step_many and step" : "step");
  if (g->num_runs > 0 && g->num_equal == g->num_runs) printf("; digest %016" PRIx64, g->runs[0].digest);
  printf("\n");
}

static json_t *describe(const dr_verify_run *r) {
  return json_pack("{s:s, s:i, s:i, s:i, s:i, s:b, s:b, s:o}", "mode", mode_names[r->mode], "workers", (int)r->workers,
                   "joined", (int)r->joined, "shard", (int)r->shard, "chunk", (int)r->chunk, "scalar", (int)r->scalar,
                   "equal", (int)r->equal, "digest", dr_json_digest(r->digest));
}

static json_t *describe_difference(const dr_verify_difference *d) {
  if (!d->found) return json_null();
  json_t *object = describe(&d->where);
  json_object_set_new(object, "field", json_string(d->field));
  json_object_set_new(object, "step", json_integer(d->step));
  json_object_set_new(object, "env", json_integer(d->env));
  json_object_set_new(object, "element", json_integer(d->element));
  json_object_set_new(object, "expected", dr_json_number(d->expected));
  json_object_set_new(object, "got", dr_json_number(d->got));
  return object;
}

int dr_verify_print_json(const dr_verify_grid *g) {
  const dr_options *c = &g->request->common;
  const bool all_equal = g->num_equal == g->num_runs;
  json_t *runs = json_array();
  for (int32_t i = 0; i < g->num_runs; i++) json_array_append_new(runs, describe(&g->runs[i]));
  return dr_json_print(json_pack("{s:s, s:i, s:i, s:I, s:s, s:i, s:i, s:b, s:o, s:o, s:o}", "env",
                                 g->request->type->name, "num_envs", (int)c->num_envs, "num_steps", (int)c->num_steps,
                                 "seed", (json_int_t)c->seed, "policy", c->policy, "num_runs", (int)g->num_runs,
                                 "num_equal", (int)g->num_equal, "equal", (int)all_equal, "digest",
                                 all_equal ? dr_json_digest(g->runs[0].digest) : json_null(), "first_difference",
                                 describe_difference(&g->first), "runs", runs));
}
