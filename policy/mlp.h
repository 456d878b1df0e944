/* mlp.h: what a network is: its options, its layers, and where each number lies in the flat weights vector. */
#ifndef DR_POLICY_MLP_H
#define DR_POLICY_MLP_H

#include <drover/mlp.h>
#include <stdbool.h>

enum { DR_MAX_NOISE_HOLD = 65536 };

/* The two chains of layers: the policy network and, beside it, the value network. With shared_values the latter is one
 * layer, which reads what the policy's last layer reads. */
typedef enum dr_mlp_chain { DR_CHAIN_POLICY = 0, DR_CHAIN_VALUE = 1 } dr_mlp_chain;

typedef struct dr_layer {
  int32_t num_inputs, num_outputs;
  drover_activation activation; /* identity for the last layer of a chain */
  size_t weights_at;            /* in the flat vector: [num_outputs x num_inputs] */
  size_t bias_at;               /* [num_outputs] */
} dr_layer;

/* Immutable once made. num_chains = 1 + has_values; a chain's layers are first_layer[chain] .. num_layers - 1. */
typedef struct dr_mlp {
  drover_mlp_options options; /* size = sizeof(drover_mlp_options) */
  int32_t num_layers;         /* num_hidden + 1 */
  int32_t num_chains;
  int32_t first_layer[2]; /* 0; the value chain's with shared_values: num_layers - 1 */
  dr_layer layers[2][DROVER_MLP_MAX_LAYERS];
  size_t log_std_at;      /* [num_outputs] if Gaussian */
  size_t num_trainable;   /* the flat vector's first part: what gradients move */
  size_t mean_at, std_at; /* [observation_size] each if normalize_observations */
  size_t num_weights;     /* length of the flat vector */
  int32_t max_width;      /* widest layer output */
} dr_mlp;

/* Check options (a struct of any released size) and lay the network out. The message names field, range and value. */
drover_status dr_mlp_init(dr_mlp *mlp, const drover_mlp_options *options);

/* Seeded initial weights [num_weights]: orthogonal (Saxe, McClelland, Ganguli 2014), gain sqrt(2) for hidden layers,
 * 0.01 for the policy's outputs, 1 for the value; biases 0 (the unit head's last: -2); log_std = initial_log_std; mean
 * 0, std 1. */
drover_status dr_mlp_initial_weights(const dr_mlp *mlp, float *weights);

/* The parameter that number `index` of the flat vector belongs to, in words: "layers.0.weight[3,1]". */
void dr_mlp_describe_weight(const dr_mlp *mlp, size_t index, char *text, size_t text_size);

/* What number `index` must be, in words ("finite", "-20..20", "finite and above 0"), or NULL if `value` is that. */
const char *dr_mlp_check_weight(const dr_mlp *mlp, size_t index, float value);

/* The name of a parameter in files: "layers.2.bias", "value.0.weight". */
void dr_mlp_tensor_name(dr_mlp_chain chain, int32_t layer, bool is_bias, char *text, size_t text_size);

/* Names used in files and messages; NULL for a number that is none. */
const char *dr_activation_name(drover_activation activation);
const char *dr_head_name(drover_head head);

#endif
