/* test_census.c: the threads of a process out of /proc: names, states, CPU time; this process, a child, fake files. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "runtime/threads/census.h"
#include "tests/threads/fake_tree.h"

static const drover_thread *find_tid(const dr_census *census, int32_t tid) {
  for (size_t i = 0; i < census->count; i++)
    if (census->items[i].tid == tid) return &census->items[i];
  return NULL;
}

typedef struct helper {
  pthread_t thread;
  atomic_int tid, stop;
  int busy;
} helper;

static void *helper_main(void *user) {
  helper *h = user;
  pthread_setname_np(pthread_self(), h->busy ? "busy ) (one" : "sleeper");
  h->tid = (int)syscall(SYS_gettid);
  while (!h->stop)
    if (!h->busy) nanosleep(&(struct timespec){0, 1000000}, NULL);
  return NULL;
}

static void start(helper *h) {
  cr_assert(pthread_create(&h->thread, NULL, helper_main, h) == 0);
  while (h->tid == 0) nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void finish(helper *h) {
  h->stop = 1;
  pthread_join(h->thread, NULL);
}

Test(census, own_threads_by_name_state_and_time) {
  helper busy = {.busy = 1}, sleeper = {.busy = 0};
  start(&busy);
  start(&sleeper);
  struct timespec until, now;
  clock_gettime(CLOCK_MONOTONIC, &until);
  do { /* until the busy one has used 0.2 s of processor time */
    clockid_t clock;
    pthread_getcpuclockid(busy.thread, &clock);
    clock_gettime(clock, &now);
  } while (now.tv_sec == 0 && now.tv_nsec < 200000000);

  dr_census census = {0, 0, NULL};
  cr_assert(eq(int, dr_census_take(NULL, 0, true, &census), DROVER_OK));
  const drover_thread *b = find_tid(&census, busy.tid), *s = find_tid(&census, sleeper.tid);
  cr_assert(b != NULL && s != NULL);
  cr_expect(eq(str, (char *)b->name, "busy ) (one"));
  cr_expect(eq(str, (char *)s->name, "sleeper"));
  cr_expect(b->state == 'R', "state of the busy thread is %c", b->state);
  cr_expect(b->cpu_seconds > 0.15 && b->cpu_seconds < 100.0, "%g s", b->cpu_seconds);
  cr_expect(s->cpu_seconds < b->cpu_seconds);
  cr_expect(s->voluntary_switches > 0);
  cr_expect(b->num_cpus >= 1);
  cr_expect(dr_census_runnable(&census) >= 1);
  for (size_t i = 1; i < census.count; i++) cr_expect(census.items[i - 1].tid < census.items[i].tid);
  finish(&busy);
  finish(&sleeper);

  const size_t before = census.count;
  for (int i = 0; i < 10000; i++) { /* a thread is in /proc for a moment after its join */
    cr_assert(eq(int, dr_census_take(NULL, 0, false, &census), DROVER_OK), "the memory is used again");
    if (census.count <= before - 2) break;
    nanosleep(&(struct timespec){0, 1000000}, NULL);
  }
  cr_expect(eq(sz, census.count, before - 2));
  cr_expect(census.items[0].voluntary_switches == -1, "not asked for");
  dr_census_free(&census);
}

Test(census, another_process_by_pid) {
  const pid_t pid = fork();
  if (pid == 0) {
    pause();
    _exit(0);
  }
  dr_census census = {0, 0, NULL};
  cr_assert(eq(int, dr_census_take(NULL, pid, false, &census), DROVER_OK));
  cr_expect(eq(sz, census.count, 1));
  cr_expect(eq(int, census.items[0].tid, pid));
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  cr_expect(eq(int, dr_census_take(NULL, pid, false, &census), DROVER_ERROR_NOT_FOUND));
  cr_expect(strstr(drover_last_error(), "no process") != NULL, "%s", drover_last_error());
  dr_census_free(&census);
}

Test(census, without_proc_it_is_an_io_error) {
  const fake_tree tree = fake_tree_make();
  dr_census census = {0, 0, NULL};
  cr_expect(eq(int, dr_census_take(tree.root, 0, false, &census), DROVER_ERROR_IO));
  cr_expect(strstr(drover_last_error(), "mounted") != NULL, "%s", drover_last_error());
  dr_census_free(&census);
  fake_tree_remove(&tree);
}

Test(census, a_stat_line_as_the_kernel_writes_it) {
  drover_thread thread;
  cr_assert(dr_census_parse_stat("42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 1 0 100 1 2\n", 100.0,
                                 &thread));
  cr_expect(eq(int, thread.tid, 42));
  cr_expect(eq(str, (char *)thread.name, "a) b (c)"));
  cr_expect(thread.state == 'S');
  cr_expect(ieee_ulp_eq(dbl, thread.cpu_seconds, 2.0, 1));
}

Test(census, names_cannot_upset_a_terminal) {
  drover_thread thread;
  cr_assert(dr_census_parse_stat("1 (\x1b[31mred\n) R 1 1 1 0 -1 0 1 2 3 4 1 1 7 8 20 0 1 0 100 1 2", 100.0, &thread));
  cr_expect(eq(str, (char *)thread.name, "?[31mred?"));
}

Test(census, malformed_stat_lines_are_refused) {
  static const char *const malformed[] = {
      "", "42", "42 (name", "42 name)", "x (name) S 1", ")(", "42 (n) S 1 2 3", "42 (n) S a b c d e f g h i j k l"};
  for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
    drover_thread thread;
    cr_expect(eq(int, dr_census_parse_stat(malformed[i], 100.0, &thread), 0), "'%s'", malformed[i]);
  }
}

Test(census, masks_are_counted) {
  cr_expect(eq(int, dr_census_count_mask("3"), 2));
  cr_expect(eq(int, dr_census_count_mask("ff,00000001\n"), 9));
  cr_expect(eq(int, dr_census_count_mask(""), 0));
  cr_expect(eq(int, dr_census_count_mask("ffffffff,ffffffff"), 64));
}

Test(census, threads_of_a_fake_process) {
  const fake_tree tree = fake_tree_make();
  fake_tree_write(&tree, "/proc/self/stat", "1 (init) S 0 1 1 0 -1 0 0 0 0 0 0 0 0 0\n");
  fake_tree_write(&tree, "/proc/77/task/77/stat", "77 (main) S 1 1 1 0 -1 0 0 0 0 0 100 0 0 0\n");
  fake_tree_write(&tree, "/proc/77/task/78/stat", "78 (worker) R 1 1 1 0 -1 0 0 0 0 0 200 0 0 0\n");
  fake_tree_write(&tree, "/proc/77/task/79/stat", "garbage"); /* as if it ended while being read */
  fake_tree_write(&tree, "/proc/77/task/78/status",
                  "Name:\tworker\nCpus_allowed:\tf\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t9\n");
  dr_census census = {0, 0, NULL};
  cr_assert(eq(int, dr_census_take(tree.root, 77, true, &census), DROVER_OK));
  cr_assert(eq(sz, census.count, 2));
  cr_expect(eq(int, dr_census_runnable(&census), 1));
  cr_expect(eq(int, census.items[1].num_cpus, 4));
  cr_expect(census.items[1].voluntary_switches == 5 && census.items[1].forced_switches == 9);
  cr_expect(census.items[0].voluntary_switches == -1, "its status file is missing");
  cr_expect(eq(int, dr_census_take(tree.root, 76, false, &census), DROVER_ERROR_NOT_FOUND));
  dr_census_free(&census);
  fake_tree_remove(&tree);
}
