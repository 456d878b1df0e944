/* mlp_policy.h: the self of an MLP policy: the network and the version of its weights that is present. */
#ifndef DR_POLICY_MLP_POLICY_H
#define DR_POLICY_MLP_POLICY_H

#include <pthread.h>

#include "policy/inference.h"

typedef struct dr_mlp_policy {
  dr_inference *inference;
  pthread_mutex_t lock; /* over `present` and every version's `references`; held for a few instructions */
  dr_weights *present;  /* one of its references is ours */
} dr_mlp_policy;

extern const drover_policy_type dr_mlp_policy_type;

/* weights [num_weights] or NULL = the seeded initial ones. */
drover_status dr_mlp_policy_new(dr_mlp_policy **out, const drover_mlp_options *options, const float *weights);
void dr_mlp_policy_free(dr_mlp_policy *self);

/* The present version, held until released. Any thread. */
dr_weights *dr_mlp_policy_acquire(dr_mlp_policy *self);
void dr_mlp_policy_release(dr_mlp_policy *self, dr_weights *weights);

/* Make a version of weights [num_weights] and let it be the present one. Any thread. */
drover_status dr_mlp_policy_replace(dr_mlp_policy *self, const float *weights);

/* A network and its weights from a file, and into one; see drover_policy_load and drover_policy_save. */
drover_status dr_mlp_file_read(dr_mlp_policy **out, const char *path);
drover_status dr_mlp_file_write(dr_mlp_policy *self, const char *path);

#endif
