/* mlp.h: the multilayer perceptron that runs inside the workers, and its weights on disk. Wide layers are computed by
 * oneDNN, narrow ones by Drover's own vector code; a row's results never depend on the rows beside it.
 *
 * Network: x_0 = observation; x_{i+1} = activation(W_i x_i + b_i); the last layer has no activation and feeds the
 * head. The value network is a second MLP of the same widths with one output, or (shared_values) one
 * more layer on the last hidden one, evaluated in the same pass.
 * Heads: categorical (logits; a Gumbel-free inverse-CDF sample), Gaussian (mean; diagonal, with a learned
 * state-independent log standard deviation), unit (sigmoid, deterministic: activations in [0, 1]). */
#ifndef DROVER_MLP_H
#define DROVER_MLP_H

#include <drover/base.h>
#include <drover/policy.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DROVER_MLP_MAX_LAYERS 16
#define DROVER_MLP_MAX_WIDTH  65536

typedef enum drover_activation {
  DROVER_ACTIVATION_RELU = 0,
  DROVER_ACTIVATION_TANH = 1,
  DROVER_ACTIVATION_ELU = 2,        /* alpha = 1 */
  DROVER_ACTIVATION_LEAKY_RELU = 3, /* slope 0.2 for negative inputs unless leaky_slope says otherwise */
  DROVER_ACTIVATION_IDENTITY = 4
} drover_activation;

typedef enum drover_head { DROVER_HEAD_CATEGORICAL = 0, DROVER_HEAD_GAUSSIAN = 1, DROVER_HEAD_UNIT = 2 } drover_head;

typedef struct drover_mlp_options {
  size_t size;                           /* set by init */
  int32_t observation_size;              /* 1..DROVER_MLP_MAX_WIDTH */
  int32_t num_outputs;                   /* actions (categorical) or action_size */
  int32_t num_hidden;                    /* hidden layers, 0..DROVER_MLP_MAX_LAYERS - 1; default 2 */
  int32_t hidden[DROVER_MLP_MAX_LAYERS]; /* their widths, 1..DROVER_MLP_MAX_WIDTH; default 64, 64 */
  drover_activation activation;          /* default tanh */
  float leaky_slope;                     /* 0..1, default 0.2 */
  drover_head head;
  int32_t has_values;    /* 1 (default): a value network beside it */
  uint64_t seed;         /* of the initial weights: orthogonal, gain sqrt(2) hidden, 0.01 policy output, 1 value output;
                            biases 0, the unit head's last -2 */
  float initial_log_std; /* Gaussian head, -20..20; default 0 */
  int32_t shared_values; /* 1: the value is a second head on the policy network's last hidden layer; default 0 */
  int32_t normalize_observations; /* 1: layer 0 sees clip((x - mean) / std, -10, 10); mean and std are parameters that
                                     no gradient moves; initially 0 and 1; default 0 */
  int32_t noise_hold; /* Gaussian: a sample's noise is drawn anew only every so many steps of an env's life, 1..65536,
                         so that exploration goes somewhere; default 1. Log-probabilities are those of each sample by
                         itself, N(mean, std), whatever the ones before it were: that they go together is left out, in
                         PPO's ratios too. Deterministic actions know nothing of it */
} drover_mlp_options;

DROVER_API drover_status drover_mlp_options_init(drover_mlp_options *options, size_t size);

/* Fit options to an env: observation size, outputs and head from its spec: categorical for discrete actions; for
 * continuous ones Gaussian, or unit if options->head says so already. */
DROVER_API drover_status drover_mlp_options_fit(drover_mlp_options *options, const drover_env_spec *spec);

/* Make the network with seeded initial weights, its primitives and one inference context a worker. */
DROVER_API drover_status drover_policy_create_mlp(drover_policy **out, drover_runtime *runtime,
                                                  const drover_mlp_options *options);

/* Make it from a safetensors file of float32 tensors `layers.<i>.weight` [out, in], `layers.<i>.bias` [out], as
 * PyTorch's Linear stores them; `value.<i>.weight/bias` likewise (optional; of the last i only, where the metadata say
 * "shared_values": "1"); `log_std` [out] (Gaussian); `observation.mean` and `observation.std` [in] (optional, both or
 * none: normalize_observations); and no others. Metadata: "activation" (relu, tanh, elu, leaky_relu, identity), "head"
 * (categorical, gaussian, unit), optional "leaky_slope", "shared_values" (0, 1), "noise_hold" and "format":
 * "drover-mlp-1".
 * DROVER_ERROR_FORMAT names the file and what is wrong. */
DROVER_API drover_status drover_policy_load(drover_policy **out, drover_runtime *runtime, const char *path);

/* Write the present weights (a temporary file, synced and renamed over path: after an error path is as it was). */
DROVER_API drover_status drover_policy_save(drover_policy *policy, const char *path);

/* The options the network was made with (observation_size, hidden, ...). out->size must be set, as by
 * drover_mlp_options_init. */
DROVER_API drover_status drover_policy_get_mlp(drover_policy *policy, drover_mlp_options *out);

/* Fit options to the inner loop of an env: inner observation and action sizes, the unit head, no values. */
DROVER_API drover_status drover_mlp_options_fit_inner(drover_mlp_options *options, const drover_env_spec *spec);

/* How many float32 parameters the network has, in this order: for each layer weight [out x in] then bias [out];
 * log_std [out] if Gaussian; then the value network's layers (shared_values: its one layer); then, if
 * normalize_observations, mean [observation_size] and std [observation_size]. */
DROVER_API drover_status drover_policy_num_weights(drover_policy *policy, size_t *out);
DROVER_API drover_status drover_policy_get_weights(drover_policy *policy, float *weights, size_t count);

/* Replace all weights [count], which are copied. They must be finite, log_std within -20..20 and std above 0; the
 * message names the first that is not, and nothing is changed then. Runs in progress finish with the version they began
 * with. Any thread.
 */
DROVER_API drover_status drover_policy_set_weights(drover_policy *policy, const float *weights, size_t count);

#ifdef __cplusplus
}
#endif
#endif
