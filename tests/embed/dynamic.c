/* dynamic.c: dlopen -> run -> destroy -> dlclose, and again, then exit while oneTBB's threads still sleep.
 * Usage: dynamic LIBDROVER.so */
#include <dlfcn.h>
#include <drover/drover.h>
#include <stdio.h>
#include <stdlib.h>

/* ISO C has no way from the void * of dlsym to a function but through memory. */
#define LOAD(name)                                       \
  __typeof__(name) *name##_ = NULL;                      \
  do {                                                   \
    *(void **)&name##_ = dlsym(library, #name);          \
    if (!name##_) {                                      \
      fprintf(stderr, "dynamic: no symbol %s\n", #name); \
      exit(1);                                           \
    }                                                    \
  } while (0)

#define MUST(call)                                                       \
  do {                                                                   \
    if ((call) != DROVER_OK) {                                           \
      fprintf(stderr, "dynamic: %s: %s\n", #call, drover_last_error_()); \
      exit(1);                                                           \
    }                                                                    \
  } while (0)

static uint64_t load_run_unload(const char *path) {
  void *const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "dynamic: %s\n", dlerror());
    exit(1);
  }
  LOAD(drover_last_error);
  LOAD(drover_runtime_options_init);
  LOAD(drover_runtime_create);
  LOAD(drover_runtime_destroy);
  LOAD(drover_env_find);
  LOAD(drover_batch_options_init);
  LOAD(drover_batch_create);
  LOAD(drover_batch_get_view);
  LOAD(drover_batch_destroy);
  LOAD(drover_policy_create_uniform);
  LOAD(drover_policy_destroy);
  LOAD(drover_rollout_options_init);
  LOAD(drover_rollout_create);
  LOAD(drover_rollout_collect);
  LOAD(drover_rollout_digest);
  LOAD(drover_rollout_destroy);

  drover_runtime_options runtime_options;
  MUST(drover_runtime_options_init_(&runtime_options, sizeof runtime_options));
  runtime_options.num_workers = 4;
  drover_runtime *runtime = NULL;
  MUST(drover_runtime_create_(&runtime, &runtime_options));

  const drover_env_type *type = NULL;
  MUST(drover_env_find_("CartPole-v1", &type));
  drover_batch_options batch_options;
  MUST(drover_batch_options_init_(&batch_options, sizeof batch_options));
  batch_options.num_envs = 256;
  drover_batch *batch = NULL;
  MUST(drover_batch_create_(&batch, runtime, type, &batch_options));
  drover_batch_view view = {.size = sizeof view};
  MUST(drover_batch_get_view_(batch, &view));

  drover_policy *policy = NULL;
  MUST(drover_policy_create_uniform_(&policy, runtime, view.spec));
  drover_rollout_options options;
  MUST(drover_rollout_options_init_(&options, sizeof options));
  options.num_steps = 64;
  drover_rollout *rollout = NULL;
  MUST(drover_rollout_create_(&rollout, batch, policy, &options));
  MUST(drover_rollout_collect_(rollout));
  uint64_t digest = 0;
  MUST(drover_rollout_digest_(rollout, &digest));

  MUST(drover_rollout_destroy_(rollout));
  MUST(drover_policy_destroy_(policy));
  MUST(drover_batch_destroy_(batch));
  MUST(drover_runtime_destroy_(runtime));
  if (dlclose(library) != 0) {
    fprintf(stderr, "dynamic: %s\n", dlerror());
    exit(1);
  }
  return digest;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  const uint64_t first = load_run_unload(argv[1]);
  const uint64_t second = load_run_unload(argv[1]);
  if (first != second) {
    fprintf(stderr, "dynamic: two loads, two digests\n");
    return 1;
  }
  printf("loaded, ran and unloaded twice: %016llx\n", (unsigned long long)first);
  return 0;
}
