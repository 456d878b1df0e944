/* train_defaults.c: one table: the options of `drover train` for each environment, found by trying.
 *
 * An update is made from num-envs x steps <= 2,048 rows. What a row leaves out is what holds for every environment
 * (dr_train_request_init, drover_ppo_options_init). tools/train-table measures what comes of them. */
#include <stdlib.h>
#include <string.h>

#include "tools/train.h"

typedef struct defaults {
  const char *env;
  const char *lines;
} defaults;

/* What the MuJoCo tasks share: Huang et al. 2022, "The 37 implementation details of proximal policy optimization"
 * (continuous actions), with the normalisation that Andrychowicz et al. 2021, "What matters in on-policy reinforcement
 * learning?" found to matter. */
#define MUJOCO_SHARED             \
  "num-envs = 8\n"                \
  "steps = 256\n"                 \
  "normalize-observations = on\n" \
  "scale-rewards = on\n"          \
  "learning-rate = 3e-4\n"        \
  "num-epochs = 10\n"
#define MUJOCO MUJOCO_SHARED "num-minibatches = 32\n"

/* Many joints: actions begin quietly, for the ratio's KL, a sum over actions, is soon too large; hence also larger
 * minibatches and a limit. */
#define MUJOCO_MANY_JOINTS \
  MUJOCO_SHARED            \
  "num-minibatches = 8\n"  \
  "target-kl = 0.02\n"     \
  "initial-log-std = -2\n"

static const defaults table[] = {
    {"CartPole-v1",
     "num-envs = 32\n"
     "steps = 64\n"
     "total-steps = 100k\n"
     "learning-rate = 2e-3\n"
     "num-epochs = 10\n"
     "num-minibatches = 8\n"},
    {"Acrobot-v1",
     "num-envs = 32\n"
     "steps = 64\n"
     "total-steps = 300k\n"
     "learning-rate = 2e-3\n"
     "num-epochs = 4\n"
     "num-minibatches = 8\n"},
    {"MountainCar-v0",
     "num-envs = 16\n"
     "steps = 128\n"
     "total-steps = 1M\n"
     "normalize-observations = on\n"
     "learning-rate = 1e-3\n"
     "num-epochs = 4\n"
     "num-minibatches = 8\n"
     "gae-lambda = 0.98\n"},
    {"Pendulum-v1", /* a whole episode an update */
     "num-envs = 10\n"
     "steps = 200\n"
     "total-steps = 200k\n"
     "scale-rewards = on\n"
     "learning-rate = 1e-3\n"
     "num-epochs = 10\n"
     "num-minibatches = 16\n"
     "gamma = 0.95\n"},
    {"MountainCarContinuous-v0",
     "num-envs = 16\n"
     "steps = 128\n"
     "total-steps = 200k\n"
     "normalize-observations = on\n"
     "scale-rewards = on\n"
     "learning-rate = 1e-3\n"
     "num-epochs = 10\n"
     "num-minibatches = 8\n"
     "gamma = 0.999\n"},
    {"InvertedPendulum-v5", MUJOCO "total-steps = 300k\n"},
    {"InvertedDoublePendulum-v5", MUJOCO "total-steps = 500k\n"},
    {"Reacher-v5", MUJOCO "total-steps = 1M\n"},
    {"Pusher-v5", MUJOCO "total-steps = 1M\n"},
    {"Swimmer-v5", /* noise held for 0.16 s */
     MUJOCO "total-steps = 500k\n"
            "noise-hold = 4\n"
            "gamma = 0.9999\n"
            "gae-lambda = 0.98\n"},
    {"Hopper-v5", MUJOCO "total-steps = 1M\n"},
    {"Walker2d-v5", MUJOCO "total-steps = 1M\n"},
    {"HalfCheetah-v5",
     "num-envs = 4\n"
     "steps = 256\n"
     "total-steps = 1M\n"
     "policy = mlp:256,256\n"
     "activation = relu\n"
     "initial-log-std = -2\n"
     "normalize-observations = on\n"
     "scale-rewards = on\n"
     "learning-rate = 1e-4\n"
     "num-epochs = 10\n"
     "num-minibatches = 8\n"
     "clip-range = 0.1\n"
     "value-coef = 0.58\n"
     "entropy-coef = 4e-4\n"
     "max-grad-norm = 0.8\n"
     "gamma = 0.98\n"
     "gae-lambda = 0.92\n"},
    {"Ant-v5", MUJOCO_MANY_JOINTS "total-steps = 1M\n"},
    {"Humanoid-v5", MUJOCO_MANY_JOINTS "total-steps = 2M\n"},
    {"HumanoidStandup-v5", MUJOCO "total-steps = 1M\n"}, /* it rises sooner under louder noise */
    {"gait2d",
     "num-envs = 32\n"
     "steps = 64\n"
     "total-steps = 400k\n"
     "normalize-observations = on\n"
     "scale-rewards = on\n"
     "learning-rate = 3e-4\n"
     "num-epochs = 10\n"
     "num-minibatches = 16\n"
     "inner-capacity = 131072\n"
     "inner-minibatch = 128\n"
     "inner-pretrain-samples = 131072\n"
     "inner-pretrain-steps = 24000\n"
     "inner-learning-rate = 2e-3\n"
     "inner-final-learning-rate = 1e-4\n"
     "inner-num-decay-steps = 24000\n"},
};

/* Anything else: what is least likely to fail. */
static const char unknown[] =
    "num-envs = 16\n"
    "steps = 128\n"
    "total-steps = 1M\n"
    "normalize-observations = on\n"
    "scale-rewards = on\n"
    "num-epochs = 10\n"
    "num-minibatches = 16\n";

char *dr_train_defaults_text(const char *env) {
  const char *lines = unknown;
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
    if (strcmp(table[i].env, env) == 0) lines = table[i].lines;
  return strdup(lines);
}
