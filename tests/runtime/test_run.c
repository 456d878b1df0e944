/* test_run.c: the scheduler by itself: whatever the workers, shards, chunks and costs, every row of every phase of
 * every step is run exactly once, in order within its shard. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <unistd.h>

#include "runtime/clock.h"
#include "tests/runtime/watch.h"
#include "tests/support/random.h"

/* ---- Once each, in order -------------------------------------------------------------------------------------- */

Test(run, every_row_of_every_phase_of_every_step_once_for_any_workers_shards_and_chunks) {
  const int32_t workers[] = {1, 2, 3, 8}, shards[] = {1, 3, 16, 37}, chunks[] = {0, 1, 5};
  for (size_t i = 0; i < 4; i++) {
    drover_runtime *runtime = watch_runtime(workers[i]);
    for (size_t j = 0; j < 4; j++)
      for (size_t k = 0; k < 3; k++)
        for (int32_t phases = 1; phases <= MAX_PHASES; phases++) {
          watch *w = watch_new(37, shards[j], phases);
          w->work = 200;
          watch_run(runtime, w, (watch_setting){.chunk = chunks[k], .num_steps = 12});
          free(w);
        }
    OK(drover_runtime_destroy(runtime));
  }
}

Test(run, every_row_once_for_random_settings_and_costs) {
  uint64_t seed = test_seed();
  for (int32_t round = 0; round < 12; round++) {
    drover_runtime *runtime = watch_runtime(test_range(&seed, 1, 8));
    for (int32_t i = 0; i < 8; i++) {
      const int32_t num_rows = test_range(&seed, 1, 300);
      watch *w = watch_new(num_rows, test_range(&seed, 1, num_rows), test_range(&seed, 1, MAX_PHASES));
      w->first_step = test_range(&seed, 0, 1000);
      w->work = test_range(&seed, 0, 1) * 300;
      if (test_range(&seed, 0, 2) == 0) {
        w->slow_every = test_range(&seed, 20, 100);
        w->sleep_us = 20;
      }
      watch_run(runtime, w,
                (watch_setting){.chunk = test_range(&seed, 0, 1) * test_range(&seed, 1, 40),
                                .multiple = test_range(&seed, 0, 16),
                                .num_steps = test_range(&seed, 1, 10),
                                .alone = test_range(&seed, 0, 5) == 0});
      free(w);
    }
    OK(drover_runtime_destroy(runtime));
  }
}

Test(run, more_chains_than_a_lane_has_cells) {
  drover_runtime *runtime = watch_runtime(2);
  watch *w = watch_new(400, 1, 2); /* 200 chains a lane, 64 cells; slow enough that chains are put aside */
  w->work = 4000;
  watch_run(runtime, w, (watch_setting){.num_steps = 30});
  free(w);
  OK(drover_runtime_destroy(runtime));
}

Test(run, calls_cover_at_most_a_block_of_rows) {
  drover_runtime *runtime = watch_runtime(1);
  watch *w = watch_new(1200, 1200, 2);
  watch_run(runtime, w, (watch_setting){.num_steps = 3});
  cr_assert_eq(w->largest_call, DR_BLOCK_ROWS);
  free(w);
  OK(drover_runtime_destroy(runtime));
}

Test(run, a_chunk_of_one_row_is_claimed_row_by_row) {
  drover_runtime *runtime = watch_runtime(1);
  watch *w = watch_new(24, 12, 1);
  OK(drover_runtime_reset_stats(runtime));
  watch_run(runtime, w, (watch_setting){.chunk = 1, .num_steps = 5});
  cr_assert_eq(w->largest_call, 1);
  cr_assert_eq(runtime_stats(runtime).total.num_claims, 24 * 5);
  free(w);
  OK(drover_runtime_destroy(runtime));
}

Test(run, a_run_of_no_steps_begins_and_ends_every_chain) {
  drover_runtime *runtime = watch_runtime(3);
  watch *w = watch_new(20, 3, 2);
  watch_run(runtime, w, (watch_setting){.num_steps = 0});
  free(w);
  OK(drover_runtime_destroy(runtime));
}

Test(run, the_same_run_again_and_again) {
  drover_runtime *runtime = watch_runtime(8);
  dr_run run;
  OK(dr_run_init(&run, runtime, 40));
  for (int32_t i = 0; i < 300; i++) {
    watch *w = watch_new(40, 1 + i % 7, 1 + i % MAX_PHASES);
    w->work = i % 3 * 300;
    OK(watch_execute(&run, w, (watch_setting){.num_steps = 1 + i % 4}, NULL));
    watch_assert_complete(w, 1 + i % 4, "one run used again");
    free(w);
  }
  dr_run_free(&run);
  OK(drover_runtime_destroy(runtime));
}

/* ---- Sharing -------------------------------------------------------------------------------------------------- */

Test(run, a_single_chain_is_split_among_the_workers) {
  drover_runtime *runtime = watch_runtime(8);
  OK(drover_runtime_reset_stats(runtime));
  watch *w = watch_new(64, 64, 1);
  w->sleep_us = 200;
  w->wanted_threads = 4; /* three of them can only have stolen their rows */
  watch_run(runtime, w, (watch_setting){.num_steps = 8});
  const drover_runtime_stats stats = runtime_stats(runtime);
  cr_assert_geq(stats.num_joined, 4, "%d joined", stats.num_joined);
  cr_assert_gt(stats.total.num_stolen, 0);
  free(w);
  OK(drover_runtime_destroy(runtime));
}

/* Opens the gate only when all other shards are through all their steps. */
static void *open_late(void *arg) {
  watch *w = arg;
  for (int32_t r = w->shard; r < w->num_rows; r++)
    while (!w->ended[r]) usleep(200);
  toy_gate_open(w->gate);
  return NULL;
}

Test(run, chains_of_a_worker_that_is_held_up_are_taken_by_others, .timeout = 100) {
  drover_runtime *runtime = watch_runtime(2);
  toy_gate gate = {0};
  watch *w = watch_new(20, 1, 2); /* 10 chains a lane; row 0 is in the first lane */
  w->gate = &gate;
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, open_late, w), 0);
  watch_run(runtime, w, (watch_setting){.num_steps = 5});
  pthread_join(thread, NULL);
  free(w);
  OK(drover_runtime_destroy(runtime));
}

Test(run, while_one_row_is_held_the_other_shards_go_on_to_the_end, .timeout = 100) {
  drover_runtime *runtime = watch_runtime(3);
  toy_gate gate = {0};
  watch *w = watch_new(30, 5, 2);
  w->gate = &gate;
  w->gate_step = 3;
  dr_run run;
  OK(dr_run_init(&run, runtime, 6));
  pthread_t thread;
  cr_assert_eq(pthread_create(&thread, NULL, open_late, w), 0);
  OK(watch_execute(&run, w, (watch_setting){.num_steps = 20}, NULL)); /* with a barrier this would never end */
  pthread_join(thread, NULL);
  watch_assert_complete(w, 20, "with a gate");
  dr_run_free(&run);
  free(w);
  OK(drover_runtime_destroy(runtime));
}

/* ---- Repeated phases ------------------------------------------------------------------------------------------ */

static watch *new_repeating_watch(int32_t num_rows, int32_t shard, int32_t num_repeats) {
  watch *w = watch_new(num_rows, shard, 1 + 2 * num_repeats);
  w->num_repeats = num_repeats;
  return w;
}

Test(run, repeated_phases_come_in_turn_and_as_often_as_asked) {
  const int32_t repeats[] = {1, 2, 16, 301}, workers[] = {1, 3, 8};
  for (size_t i = 0; i < 4; i++)
    for (size_t k = 0; k < 3; k++) {
      drover_runtime *runtime = watch_runtime(workers[k]);
      watch *w = new_repeating_watch(60, 7, repeats[i]);
      w->work = 200;
      w->first_step = 5;
      watch_run(runtime, w, (watch_setting){.num_steps = 6, .chunk = (int32_t)k});
      cr_assert_eq(runtime_stats(runtime).total.num_env_steps, 60 * 6, "a row is an env step once a step");
      free(w);
      OK(drover_runtime_destroy(runtime));
    }
}

/* Where a shard fails in the middle of a step, it stops there, and the others only between steps. */
Test(run, a_failure_in_a_repeated_phase_leaves_no_other_shard_within_a_step) {
  for (int32_t num_workers = 1; num_workers <= 8; num_workers += 7) {
    drover_runtime *runtime = watch_runtime(num_workers);
    watch *w = new_repeating_watch(40, 4, 10);
    w->work = 300;
    w->fail_phase = 7;
    w->fail_row = 17;
    w->fail_step = 6;
    dr_run run;
    OK(dr_run_init(&run, runtime, 10));
    int64_t steps_done = -1;
    cr_assert_eq(watch_execute(&run, w, (watch_setting){.num_steps = 5000}, &steps_done), DROVER_ERROR_ENV);
    cr_assert_leq(steps_done, 6);
    cr_assert_eq(w->num_wrong, 0);
    cr_assert_eq(w->num_after_failure, 0);
    for (int32_t r = 0; r < w->num_rows; r++)
      cr_assert_eq(w->done[r] % w->num_phases, r / w->shard * w->shard == 16 ? 8 : 0, "row %d", r);
    dr_run_free(&run);
    free(w);
    OK(drover_runtime_destroy(runtime));
  }
}
/* ---- Ticks ---------------------------------------------------------------------------------------------------- */

Test(run, ticks_come_at_most_every_100_ms) {
  drover_runtime *runtime = watch_runtime(3);
  watch *w = watch_new(6, 1, 1);
  w->sleep_us = 500;
  const uint64_t from = dr_monotonic_ns();
  watch_run(runtime, w, (watch_setting){.num_steps = 250});
  const double tenths = (double)(dr_monotonic_ns() - from) / 1e8;
  cr_assert_geq(w->num_ticks, 1);
  cr_assert_leq(w->num_ticks, (int32_t)tenths + 1, "%d ticks in %g s", w->num_ticks, tenths / 10);
  free(w);
  OK(drover_runtime_destroy(runtime));
}
