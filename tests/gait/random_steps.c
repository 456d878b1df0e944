/* random_steps.c: many steps of the walker under random actions and activations: no fault, all finite, flat memory.
 *
 *   gait_random_steps STEPS      of 16 ticks each; an episode ends at a fall or after 300 steps */
#include <unistd.h>

#include "env/gait/gait.h"

static long resident_bytes(void) {
  long pages = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (!file || fscanf(file, "%ld %ld", &pages, &resident) != 2) resident = 0;
  if (file) fclose(file);
  return resident * sysconf(_SC_PAGESIZE);
}

typedef struct {
  const drover_env_type *type;
  void *shared;
  dr_gait_env env;
  float observation[DR_GAIT_OBSERVATION], row[DR_GAIT_INNER_OBSERVATION];
  uint64_t steps, episodes, faults, not_finite;
} walk;

static void reset(walk *w) {
  const drover_env_rows rows = {
      .count = 1, .purpose = DROVER_RANDOM_RESET, .counters = &w->episodes, .observations = w->observation};
  if (w->type->reset(w->shared, &w->env, &rows)) w->faults++;
  w->episodes++;
}

/* Activations are held for a while, so that the body is thrown about as well as shaken. */
static bool step(walk *w, drover_random *random, float *activation) {
  float action[DR_GAIT_JOINTS];
  for (int j = 0; j < DR_GAIT_JOINTS; j++) action[j] = (float)drover_random_range(random, -10, 10);
  drover_env_tick tick = {.tick = -1, .action = action, .inner_observation = w->row};
  if (w->type->begin(w->shared, &w->env, &tick)) return false;
  tick.inner_action = activation;
  for (tick.tick = 0; tick.tick < DR_GAIT_TICKS; tick.tick++) {
    for (int i = 0; i < DR_GAIT_MUSCLES; i++)
      if (drover_random_u32(random) % 8 == 0) activation[i] = (float)drover_random_uniform(random);
    tick.inner_observation = tick.tick < DR_GAIT_TICKS - 1 ? w->row : NULL;
    if (w->type->tick(w->shared, &w->env, &tick)) return false;
    for (int i = 0; i < DR_GAIT_INNER_OBSERVATION; i++) w->not_finite += isfinite(w->row[i]) ? 0 : 1;
  }
  float reward = 0;
  uint8_t terminated = 0, truncated = 0;
  const drover_env_rows rows = {.count = 1,
                                .purpose = DROVER_RANDOM_STEP,
                                .counters = &w->steps,
                                .actions = action,
                                .observations = w->observation,
                                .rewards = &reward,
                                .terminated = &terminated,
                                .truncated = &truncated};
  if (w->type->step(w->shared, &w->env, &rows)) return false;
  for (int i = 0; i < DR_GAIT_OBSERVATION; i++) w->not_finite += isfinite(w->observation[i]) ? 0 : 1;
  w->not_finite += isfinite(reward) ? 0 : 1;
  if (terminated) reset(w);
  return true;
}

extern const drover_env_type dr_env_gait2d;

int main(int argc, char **argv) {
  const uint64_t num_steps = argc > 1 ? strtoull(argv[1], NULL, 10) : 12500;
  walk w = {.type = &dr_env_gait2d};
  const drover_env_args none = {0, NULL};
  drover_env_spec spec = {.size = sizeof spec};
  char message[256] = "";
  if (w.type->open(&none, &spec, &w.shared, message, sizeof message) || w.type->create(w.shared, &w.env, 0)) {
    fprintf(stderr, "%s\n", message);
    return 1;
  }
  drover_random random = drover_random_at(1, 0, DROVER_RANDOM_USER, 0);
  float activation[DR_GAIT_MUSCLES] = {0};
  reset(&w);
  long before = 0;
  for (; w.steps < num_steps; w.steps++) {
    if (w.steps == num_steps / 10) before = resident_bytes();
    if (!step(&w, &random, activation)) {
      w.faults++;
      reset(&w);
    } else if (w.steps % 300 == 299) {
      reset(&w);
    }
  }
  const long grown = resident_bytes() - before;
  w.type->destroy(w.shared, &w.env);
  w.type->close(w.shared);
  printf("gait2d: %llu steps, %llu episodes, %llu faults, %llu numbers not finite, memory %+ld bytes\n",
         (unsigned long long)w.steps, (unsigned long long)w.episodes, (unsigned long long)w.faults,
         (unsigned long long)w.not_finite, grown);
  return w.faults || w.not_finite || grown > 1 << 20;
}
