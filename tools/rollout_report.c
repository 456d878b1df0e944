/* rollout_report.c: the figures of a rollout, for a person and as JSON. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tools/format.h"
#include "tools/json.h"
#include "tools/rollout.h"

enum { MOST_FAULTS_SHOWN = 5 };

static const char *const fraction_names[4] = {"step", "infer", "other", "idle"};

void dr_rollout_fractions(const drover_runtime_stats *stats, double out[4]) {
  const drover_worker_stats *total = &stats->total;
  const double times[4] = {(double)total->step_ns, (double)total->infer_ns, (double)total->other_ns,
                           (double)total->idle_ns};
  const double sum = times[0] + times[1] + times[2] + times[3];
  for (int i = 0; i < 4; i++) out[i] = sum > 0 ? times[i] / sum : 0;
}

/* Means over the episodes that ended; NAN if none did. */
static void episode_means(const drover_rollout_view *view, double *mean_return, double *mean_length) {
  double sum_returns = 0, sum_lengths = 0;
  for (int64_t i = 0; i < view->num_episodes; i++) {
    sum_returns += view->episodes[i].episode_return;
    sum_lengths += view->episodes[i].length;
  }
  *mean_return = view->num_episodes ? sum_returns / (double)view->num_episodes : NAN;
  *mean_length = view->num_episodes ? sum_lengths / (double)view->num_episodes : NAN;
}

static double steps_per_second(const dr_rollout_figures *figures) {
  return figures->seconds > 0 ? (double)figures->env_steps / figures->seconds : 0;
}

static double allocated_bytes_per_step(const dr_rollout_figures *figures) {
  if (!figures->stats.has_heaps || figures->env_steps_timed == 0) return NAN;
  return (double)figures->stats.total.allocated_bytes / (double)figures->env_steps_timed;
}

static const char *fault_words(int32_t reason) {
  switch (reason) {
    case DROVER_FAULT_STEP:
      return "step returned an error";
    case DROVER_FAULT_RESET:
      return "reset returned an error";
    case DROVER_FAULT_OBSERVATION:
      return "a non-finite observation";
    case DROVER_FAULT_REWARD:
      return "a non-finite reward";
    case DROVER_FAULT_INNER:
      return "a tick of the inner loop failed, or an inner number was not finite";
    default:
      return "an unknown reason";
  }
}

/* ---- For a person ---- */

/* "step 61 %  infer 30 %  other 7 %  idle 2 %" and a bar of 40 letters in those proportions. */
static void print_fractions(const drover_runtime_stats *stats) {
  enum { WIDTH = 40 };
  double fractions[4];
  dr_rollout_fractions(stats, fractions);
  printf("  time       ");
  char bar[WIDTH + 1];
  double until = 0;
  int filled = 0;
  for (int i = 0; i < 4; i++) {
    printf("%s %.0f %%  ", fraction_names[i], fractions[i] * 100);
    until += fractions[i] * WIDTH;
    while (filled < WIDTH && filled < (int)lrint(until)) bar[filled++] = "sio."[i];
  }
  bar[filled] = '\0';
  printf(" [%s]\n", bar);
}

static void print_speed(const dr_rollout_request *request, const dr_rollout_figures *figures) {
  char speed[DR_FORMAT_BYTES], steps[DR_FORMAT_BYTES], seconds[DR_FORMAT_BYTES];
  printf("  speed      %s steps/s   (%s env steps in %s", dr_format_scaled(speed, steps_per_second(figures)),
         dr_format_integer(steps, figures->env_steps), dr_format_seconds(seconds, figures->seconds));
  if (figures->num_samples > 1) {
    double least = figures->samples[0], most = figures->samples[0];
    for (int32_t i = 1; i < figures->num_samples; i++) {
      least = fmin(least, figures->samples[i]);
      most = fmax(most, figures->samples[i]);
    }
    char from[DR_FORMAT_BYTES], to[DR_FORMAT_BYTES];
    printf("; median of %d, %s to %s", figures->num_samples, dr_format_seconds(from, least),
           dr_format_seconds(to, most));
  } else if (request->repeat == 0) {
    printf(", cold; --repeat 5 times warm ones");
  }
  puts(")");
}

static void print_faults(const drover_rollout_view *view) {
  char count[DR_FORMAT_BYTES];
  printf("  faults     %s: these envs failed and were reset; their rows have valid = 0\n",
         dr_format_integer(count, view->num_faults));
  for (int64_t i = 0; i < view->num_faults && i < MOST_FAULTS_SHOWN; i++)
    printf("               env %d at step %d: %s: %s\n", view->faults[i].env, view->faults[i].step,
           fault_words(view->faults[i].reason), view->fault_texts[i]);
  if (view->num_faults > MOST_FAULTS_SHOWN)
    printf("               and %s more\n", dr_format_integer(count, view->num_faults - MOST_FAULTS_SHOWN));
}

/* The inner loop: K ticks a step, what goes in and out of its policy. */
static void print_inner(const dr_rollout_request *request, const dr_rollout_figures *figures) {
  char ticks[DR_FORMAT_BYTES], speed[DR_FORMAT_BYTES];
  printf("  inner      %s ticks a step, %d numbers -> %d, policy %s: %s ticks/s\n",
         dr_format_integer(ticks, figures->spec.num_ticks), (int)figures->spec.inner_observation_size,
         (int)figures->spec.inner_action_size, request->inner_policy.text,
         dr_format_scaled(speed, steps_per_second(figures) * figures->spec.num_ticks));
}

void dr_rollout_print(const dr_rollout_request *request, const dr_rollout_figures *figures) {
  const drover_rollout_view *view = &figures->view;
  char envs[DR_FORMAT_BYTES], steps[DR_FORMAT_BYTES], episodes[DR_FORMAT_BYTES], chunk[DR_FORMAT_BYTES] = "auto";
  if (figures->chunk > 0) dr_format_integer(chunk, figures->chunk);
  printf("%s  %s envs x %s steps, policy %s, seed %" PRIu64 "\n", figures->env,
         dr_format_integer(envs, figures->num_envs), dr_format_integer(steps, figures->num_steps),
         request->common.policy, request->common.seed);
  printf("  workers    %d joined of %d, shard %s, chunk %s, at most %d threads\n", figures->stats.num_joined,
         figures->stats.num_workers, dr_format_integer(envs, figures->shard), chunk, figures->max_threads);
  print_speed(request, figures);
  if (figures->spec.num_ticks > 0) print_inner(request, figures);
  double mean_return, mean_length;
  episode_means(view, &mean_return, &mean_length);
  if (view->num_episodes > 0)
    printf("  episodes   %s   (mean return %.4g, mean length %.1f)\n", dr_format_integer(episodes, view->num_episodes),
           mean_return, mean_length);
  else
    puts("  episodes   none ended");
  print_fractions(&figures->stats);
  const double allocated = allocated_bytes_per_step(figures);
  if (isfinite(allocated) && allocated < 10)
    printf("  memory     %.2g B allocated a step\n", allocated);
  else if (isfinite(allocated))
    printf("  memory     %s allocated a step\n", dr_format_bytes(steps, allocated));
  if (view->num_faults > 0) print_faults(view);
  printf("  digest     %016" PRIx64 "\n", figures->digest);
  if (figures->is_saved) printf("  saved      %s\n", request->save);
  if (figures->is_traced) printf("  trace      %s   (open it at ui.perfetto.dev)\n", request->common.trace);
}

/* ---- As JSON ---- */

static json_t *faults_json(const drover_rollout_view *view) {
  json_t *array = json_array();
  for (int64_t i = 0; i < view->num_faults && i < MOST_FAULTS_SHOWN; i++)
    json_array_append_new(
        array, json_pack("{s:i, s:i, s:s, s:s}", "env", view->faults[i].env, "step", view->faults[i].step, "reason",
                         fault_words(view->faults[i].reason), "text", view->fault_texts[i]));
  return array;
}

static json_t *tiles_json(const drover_policy_spec *spec) {
  json_t *array = json_array();
  for (int32_t i = 0; i < spec->num_tiles; i++) json_array_append_new(array, json_integer(spec->tiles[i]));
  return array;
}

static json_t *fractions_json(const drover_runtime_stats *stats) {
  double fractions[4];
  dr_rollout_fractions(stats, fractions);
  json_t *object = json_object();
  for (int i = 0; i < 4; i++) json_object_set_new(object, fraction_names[i], dr_json_number(fractions[i]));
  return object;
}

int dr_rollout_print_json(const dr_rollout_request *request, const dr_rollout_figures *figures) {
  const drover_rollout_view *view = &figures->view;
  double mean_return, mean_length;
  episode_means(view, &mean_return, &mean_length);
  json_t *object =
      json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:o, s:I, s:s}", "env", figures->env, "num_envs", figures->num_envs,
                "num_steps", figures->num_steps, "num_workers", figures->stats.num_joined, "shard", figures->shard,
                "chunk", figures->chunk, "tiles", tiles_json(&figures->policy_spec), "seed",
                (json_int_t)request->common.seed, "policy", request->common.policy);
  json_t *rest = json_pack(
      "{s:o, s:o, s:I, s:o, s:I, s:o, s:o, s:I, s:o, s:o, s:o, s:i, s:o, s:b, s:s}", "seconds",
      dr_json_number(figures->seconds), "samples", dr_json_numbers(figures->samples, (size_t)figures->num_samples),
      "env_steps", (json_int_t)figures->env_steps, "steps_per_second", dr_json_number(steps_per_second(figures)),
      "episodes", (json_int_t)view->num_episodes, "mean_return", dr_json_number(mean_return), "mean_length",
      dr_json_number(mean_length), "num_faults", (json_int_t)view->num_faults, "faults", faults_json(view), "digest",
      dr_json_digest(figures->digest), "fraction", fractions_json(&figures->stats), "max_threads", figures->max_threads,
      "allocated_bytes_per_step", dr_json_number(allocated_bytes_per_step(figures)), "interrupted",
      figures->status == DROVER_ERROR_CANCELLED, "version", drover_version());
  if (object && rest) json_object_update(object, rest);
  json_decref(rest);
  if (object && figures->spec.num_ticks > 0)
    json_object_update_new(
        object, json_pack("{s:s, s:i, s:i, s:i, s:i}", "inner_policy", request->inner_policy.text, "num_ticks",
                          figures->spec.num_ticks, "inner_observation_size", figures->spec.inner_observation_size,
                          "inner_action_size", figures->spec.inner_action_size, "inner_sample_size",
                          figures->spec.inner_sample_size));
  return dr_json_print(object);
}
