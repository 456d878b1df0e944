/* test_cores.c: usable cores = min(affinity, ceil(smallest quota of all ancestor cgroups)), out of fake trees and a
 * real cgroup. */
#include <dirent.h>
#include <drover/threads.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/wait.h>

#include "runtime/threads/cores.h"
#include "tests/threads/fake_tree.h"

#define V2_MOUNT "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n"
#define V1_MOUNT "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"

static drover_cores cores_of(const fake_tree *tree) {
  drover_cores cores = {.size = sizeof cores};
  cr_assert(eq(int, drover_threads_get_cores(tree->root, &cores), DROVER_OK));
  return cores;
}

/* CPUs this process may use, by the obvious call. */
static int affinity(void) {
  cpu_set_t set;
  cr_assert(sched_getaffinity(0, sizeof set, &set) == 0);
  return CPU_COUNT(&set);
}

static int ceil_min(double quota, int mask) {
  int whole = (int)quota;
  whole += whole < quota;
  if (whole < 1) whole = 1;
  return whole < mask ? whole : mask;
}

static void expect_quota(const fake_tree *tree, double quota, const char *path_end) {
  const drover_cores cores = cores_of(tree);
  cr_expect(ieee_ulp_eq(dbl, cores.quota, quota, 1));
  cr_expect(eq(int, cores.num_affinity, affinity()));
  cr_expect(eq(int, cores.num_cores, quota > 0 ? ceil_min(quota, affinity()) : affinity()));
  const size_t length = strlen(cores.quota_path), end = strlen(path_end);
  cr_expect(length >= end && strcmp(cores.quota_path + length - end, path_end) == 0, "path is '%s', not ...'%s'",
            cores.quota_path, path_end);
}

Test(cores, without_proc_there_is_no_quota) {
  const fake_tree tree = fake_tree_make();
  expect_quota(&tree, 0, "");
  fake_tree_remove(&tree);
}

Test(cores, v2_quota_of_own_group) {
  const fake_tree tree = fake_tree_make();
  fake_tree_write(&tree, "/proc/self/cgroup", "0::/app\n");
  fake_tree_write(&tree, "/proc/self/mountinfo", V2_MOUNT);
  fake_tree_write(&tree, "/sys/fs/cgroup/app/cpu.max", "150000 100000\n");
  expect_quota(&tree, 1.5, "/sys/fs/cgroup/app/cpu.max");
  fake_tree_remove(&tree);
}

Test(cores, v2_smallest_quota_of_all_ancestors_wins) {
  const fake_tree tree = fake_tree_make();
  fake_tree_write(&tree, "/proc/self/cgroup", "0::/slice/pod/container\n");
  fake_tree_write(&tree, "/proc/self/mountinfo", V2_MOUNT);
  fake_tree_write(&tree, "/sys/fs/cgroup/cpu.max", "max 100000\n");
  fake_tree_write(&tree, "/sys/fs/cgroup/slice/cpu.max", "400000 100000\n");
  fake_tree_write(&tree, "/sys/fs/cgroup/slice/pod/cpu.max", "25000 50000\n");
  fake_tree_write(&tree, "/sys/fs/cgroup/slice/pod/container/cpu.max", "300000 100000\n");
  expect_quota(&tree, 0.5, "/slice/pod/cpu.max");
  dr_quotas quotas;
  dr_cores_quotas(tree.root, 0, &quotas);
  cr_assert(eq(sz, quotas.count, 3));
  cr_expect(ieee_ulp_eq(dbl, quotas.items[0].cores, 3.0, 1), "innermost first");
  cr_expect(ieee_ulp_eq(dbl, quotas.items[2].cores, 4.0, 1));
  dr_quotas_free(&quotas);
  fake_tree_remove(&tree);
}

Test(cores, v2_max_is_no_quota) {
  const fake_tree tree = fake_tree_make();
  fake_tree_write(&tree, "/proc/self/cgroup", "0::/app\n");
  fake_tree_write(&tree, "/proc/self/mountinfo", V2_MOUNT);
  fake_tree_write(&tree, "/sys/fs/cgroup/app/cpu.max", "max 100000\n");
  expect_quota(&tree, 0, "");
  fake_tree_remove(&tree);
}

Test(cores, v2_period_may_be_left_out) {
  const fake_tree tree = fake_tree_make();
  fake_tree_write(&tree, "/proc/self/cgroup", "0::/\n");
  fake_tree_write(&tree, "/proc/self/mountinfo", V2_MOUNT);
  fake_tree_write(&tree, "/sys/fs/cgroup/cpu.max", "100000");
  expect_quota(&tree, 1, "/sys/fs/cgroup/cpu.max");
  fake_tree_remove(&tree);
}

Test(cores, malformed_quotas_count_as_none) {
  static const char *const malformed[] = {"",          "\n",          "max",          "0 100000\n",
                                          "-1 10\n",   "100000 0\n",  "100000 -5\n",  "1e5 100000\n",
                                          "abc def",   "100 100 7\n", "100000 x\n",   "99999999999999999999 1\n",
                                          "0x10 10\n", "\x01\x02",    "100000,100000"};
  for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
    const fake_tree tree = fake_tree_make();
    fake_tree_write(&tree, "/proc/self/cgroup", "0::/app\n");
    fake_tree_write(&tree, "/proc/self/mountinfo", V2_MOUNT);
    fake_tree_write(&tree, "/sys/fs/cgroup/app/cpu.max", malformed[i]);
    expect_quota(&tree, 0, "");
    fake_tree_remove(&tree);
  }
}

Test(cores, malformed_proc_files_count_as_no_quota) {
  static const char *const groups[] = {"", "0", "0:", "0::", "::\n", "garbage\n\n\n", "0::relative\n", "0::/../..\n"};
  static const char *const mounts[] = {"", "31 23\n", "31 23 0:28 / /sys - \n", " - cgroup2 cgroup2 rw\n",
                                       "31 23 0:28 /nowhere /sys/fs/nowhere rw - cgroup2 cgroup2 rw\n"};
  for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++)
    for (size_t m = 0; m < sizeof mounts / sizeof mounts[0]; m++) {
      const fake_tree tree = fake_tree_make();
      fake_tree_write(&tree, "/proc/self/cgroup", groups[g]);
      fake_tree_write(&tree, "/proc/self/mountinfo", mounts[m]);
      expect_quota(&tree, 0, "");
      fake_tree_remove(&tree);
    }
}

Test(cores, v1_quota_and_period_are_two_files) {
  const fake_tree tree = fake_tree_make();
  fake_tree_write(&tree, "/proc/self/cgroup", "11:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n");
  fake_tree_write(&tree, "/proc/self/mountinfo", V1_MOUNT);
  fake_tree_write(&tree, "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1\n");
  fake_tree_write(&tree, "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
  expect_quota(&tree, 0, "");
  fake_tree_write(&tree, "/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "10000\n");
  expect_quota(&tree, 0, ""); /* a quota without its period is malformed */
  fake_tree_write(&tree, "/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "20000\n");
  expect_quota(&tree, 0.5, "/docker/cpu.cfs_quota_us");
  fake_tree_remove(&tree);
}

Test(cores, v1_needs_the_cpu_controller_and_not_cpuset) {
  const fake_tree tree = fake_tree_make();
  fake_tree_write(&tree, "/proc/self/cgroup", "5:cpuset:/a\n4:cpuacct:/a\n");
  fake_tree_write(&tree, "/proc/self/mountinfo",
                  "32 31 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
                  "33 31 0:30 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n");
  fake_tree_write(&tree, "/sys/fs/cgroup/cpuset/a/cpu.cfs_quota_us", "10000\n");
  fake_tree_write(&tree, "/sys/fs/cgroup/cpuset/a/cpu.cfs_period_us", "20000\n");
  expect_quota(&tree, 0, "");
  fake_tree_remove(&tree);
}

Test(cores, hybrid_mounts_both_trees_count) {
  const fake_tree tree = fake_tree_make();
  fake_tree_write(&tree, "/proc/self/cgroup", "4:cpu,cpuacct:/a\n0::/user.slice\n");
  fake_tree_write(&tree, "/proc/self/mountinfo",
                  V1_MOUNT "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  fake_tree_write(&tree, "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "75000\n");
  fake_tree_write(&tree, "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
  expect_quota(&tree, 0.75, "/a/cpu.cfs_quota_us");
  fake_tree_write(&tree, "/sys/fs/cgroup/unified/user.slice/cpu.max", "50000 100000\n");
  expect_quota(&tree, 0.5, "/user.slice/cpu.max");
  fake_tree_remove(&tree);
}

Test(cores, mount_of_a_part_of_the_tree) {
  /* A container without a cgroup namespace: its own group is mounted at the usual place. */
  const fake_tree tree = fake_tree_make();
  fake_tree_write(&tree, "/proc/self/cgroup", "0::/docker/abc/inner\n");
  fake_tree_write(&tree, "/proc/self/mountinfo",
                  "31 23 0:28 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
                  "50 23 0:28 /docker/ab /mnt/other rw - cgroup2 cgroup2 rw\n");
  fake_tree_write(&tree, "/sys/fs/cgroup/inner/cpu.max", "max 100000\n");
  fake_tree_write(&tree, "/sys/fs/cgroup/cpu.max", "50000 100000\n");
  fake_tree_write(&tree, "/mnt/other/cpu.max", "10000 100000\n"); /* "/docker/ab" is not above "/docker/abc" */
  expect_quota(&tree, 0.5, "/sys/fs/cgroup/cpu.max");
  fake_tree_remove(&tree);
}

Test(cores, group_outside_the_namespace_falls_back_to_the_mount) {
  const fake_tree tree = fake_tree_make();
  fake_tree_write(&tree, "/proc/self/cgroup", "0::/../outside\n");
  fake_tree_write(&tree, "/proc/self/mountinfo", V2_MOUNT);
  fake_tree_write(&tree, "/sys/fs/cgroup/cpu.max", "50000 100000\n");
  fake_tree_write(&tree, "/sys/fs/outside/cpu.max", "10000 100000\n");
  expect_quota(&tree, 0.5, "/sys/fs/cgroup/cpu.max");
  fake_tree_remove(&tree);
}

Test(cores, group_not_below_the_mount_falls_back_to_the_mount) {
  /* /proc/self/cgroup shows the host's path while a namespace's root is mounted. */
  const fake_tree tree = fake_tree_make();
  fake_tree_write(&tree, "/proc/self/cgroup", "0::/kubepods/pod1\n");
  fake_tree_write(&tree, "/proc/self/mountinfo", "31 23 0:28 /../x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  fake_tree_write(&tree, "/sys/fs/cgroup/cpu.max", "50000 100000\n");
  expect_quota(&tree, 0.5, "/sys/fs/cgroup/cpu.max");
  fake_tree_remove(&tree);
}

Test(cores, spaces_in_mount_points_are_unescaped) {
  const fake_tree tree = fake_tree_make();
  fake_tree_write(&tree, "/proc/self/cgroup", "0::/a b\n");
  fake_tree_write(&tree, "/proc/self/mountinfo", "31 23 0:28 / /my\\040groups rw - cgroup2 cgroup2 rw\n");
  fake_tree_write(&tree, "/my groups/a b/cpu.max", "50000 100000\n");
  expect_quota(&tree, 0.5, "/my groups/a b/cpu.max");
  fake_tree_remove(&tree);
}

Test(cores, a_quota_is_rounded_up_and_never_below_one) {
  const dr_quota rows[] = {{0.01, "q"}, {0.999, "q"}, {1.0, "q"}, {1.001, "q"}, {2.5, "q"}, {64.0, "q"}, {1e300, "q"}};
  const int32_t expected[] = {1, 1, 1, 2, 3, 16, 16};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    dr_quota item = rows[i];
    drover_cores cores = {.size = sizeof cores};
    dr_cores_decide(16, &(dr_quotas){1, &item}, &cores);
    cr_expect(eq(int, cores.num_cores, expected[i]), "quota %g", rows[i].cores);
  }
}

Test(cores, the_callers_mask_counts) {
  cpu_set_t all, one;
  cr_assert(sched_getaffinity(0, sizeof all, &all) == 0);
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &all)) {
      CPU_SET(cpu, &one);
      break;
    }
  cr_assert(sched_setaffinity(0, sizeof one, &one) == 0);
  drover_cores cores = {.size = sizeof cores};
  cr_assert(eq(int, drover_threads_get_cores(NULL, &cores), DROVER_OK));
  cr_expect(eq(int, cores.num_affinity, 1));
  cr_expect(eq(int, cores.num_cores, 1));
}

Test(cores, a_wrong_size_or_null_is_an_argument_error) {
  drover_cores cores = {.size = 4};
  cr_expect(eq(int, drover_threads_get_cores(NULL, &cores), DROVER_ERROR_ARGUMENT));
  cr_expect(strstr(drover_last_error(), "sizeof(drover_cores)") != NULL);
  cr_expect(eq(int, drover_threads_get_cores(NULL, NULL), DROVER_ERROR_ARGUMENT));
}

/* ---- A real cgroup, where the machine lets us make one ---------------------------------------------------------- */

static int write_text(const char *folder, const char *file, const char *text) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, file);
  FILE *out = fopen(path, "w");
  if (out == NULL) return -1;
  const int failed = fputs(text, out) < 0;
  return fclose(out) != 0 || failed ? -1 : 0;
}

/* Where a cgroup with a CPU quota can be made: v1's cpu tree, or a v2 tree with the cpu controller. */
static const char *find_tree(int *v2) {
  static const char *const v1[] = {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"};
  for (size_t i = 0; i < 2; i++) {
    char path[64];
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", v1[i]);
    *v2 = 0;
    if (access(path, F_OK) == 0) return v1[i];
  }
  *v2 = 1;
  return access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0 ? "/sys/fs/cgroup" : NULL;
}

Test(cores, a_real_quota_on_a_parent_group_is_seen) {
  int v2 = 0;
  const char *tree = find_tree(&v2);
  if (tree == NULL) cr_skip_test("no cgroup tree with a cpu controller is mounted under /sys/fs/cgroup");
  char parent[128], child[160];
  snprintf(parent, sizeof parent, "%s/drover-test-%ld", tree, (long)getpid());
  snprintf(child, sizeof child, "%s/child", parent);
  if (mkdir(parent, 0755) != 0) cr_skip_test("no right to make a cgroup: %s: %s", parent, strerror(errno));
  const int limited =
      v2 ? write_text(parent, "cpu.max", "50000 100000\n") : write_text(parent, "cpu.cfs_quota_us", "50000\n");
  if (limited != 0 || mkdir(child, 0755) != 0) {
    rmdir(parent);
    cr_skip_test("the cgroup %s takes no CPU quota here", parent);
  }
  const pid_t pid = fork();
  if (pid == 0) { /* 0 = as it should be, 2 = could not enter, 1 = wrong */
    char own[32];
    snprintf(own, sizeof own, "%ld\n", (long)getpid());
    if (write_text(child, "cgroup.procs", own) != 0) _exit(2);
    drover_cores cores = {.size = sizeof cores};
    const drover_status status = drover_threads_get_cores(NULL, &cores);
    _exit(status == DROVER_OK && cores.num_cores == 1 && cores.quota == 0.5 &&
                  strncmp(cores.quota_path, parent, strlen(parent)) == 0
              ? 0
              : 1);
  }
  int code = 0;
  waitpid(pid, &code, 0);
  for (int i = 0; i < 100 && rmdir(child) != 0; i++) usleep(10000); /* the group empties a moment after the exit */
  rmdir(parent);
  if (WIFEXITED(code) && WEXITSTATUS(code) == 2) cr_skip_test("no right to enter the cgroup %s", child);
  cr_expect(code == 0, "in a group with half a core: 1 core is expected");
}
