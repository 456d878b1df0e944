/* network.h: the inner network of the experiment: its shape and its weights, the same in the env that evaluates it row
 * by row and in Drover's own inference.
 *
 * Shapes of the gait project's "muscle" network: 284 muscles' torque contributions and 50 desired joint torques in,
 * 284 activations out, three hidden layers of 256, LeakyReLU(0.2), a sigmoid at the end; evaluated 16 times a control
 * step (480 Hz in 30 Hz). Weights and biases: layer l is drawn from stream (seed 0, env l, DROVER_RANDOM_INIT), as
 * weight [out x in] and then bias [out], uniform in +-sqrt(3 / in). */
#ifndef DR_PERF_NESTED_NETWORK_H
#define DR_PERF_NESTED_NETWORK_H

#include <drover/random.h>
#include <math.h>
#include <stddef.h>

enum {
  NESTED_MUSCLES = 284,
  NESTED_TORQUES = 50,
  NESTED_INPUTS = NESTED_MUSCLES + NESTED_TORQUES,
  NESTED_OUTPUTS = NESTED_MUSCLES,
  NESTED_WIDTH = 256,
  NESTED_LAYERS = 4,
  NESTED_TICKS = 16,  /* a control step */
  NESTED_ACTIONS = 51 /* of the outer policy; the experiment does not use them */
};
#define NESTED_SLOPE 0.2f

static inline int nested_layer_inputs(int layer) { return layer == 0 ? NESTED_INPUTS : NESTED_WIDTH; }
static inline int nested_layer_outputs(int layer) { return layer == NESTED_LAYERS - 1 ? NESTED_OUTPUTS : NESTED_WIDTH; }

/* Where layer `layer` begins in the array of all parameters; NESTED_LAYERS = its length. */
static inline size_t nested_layer_offset(int layer) {
  size_t offset = 0;
  for (int l = 0; l < layer; l++) offset += (size_t)nested_layer_outputs(l) * (size_t)(nested_layer_inputs(l) + 1);
  return offset;
}

/* Fill [nested_layer_offset(NESTED_LAYERS)] parameters. */
static inline void nested_fill_weights(float *weights) {
  for (int layer = 0; layer < NESTED_LAYERS; layer++) {
    drover_random random = drover_random_at(0, (uint32_t)layer, DROVER_RANDOM_INIT, 0);
    const float scale = sqrtf(3.0f / (float)nested_layer_inputs(layer));
    float *to = weights + nested_layer_offset(layer);
    float *end = weights + nested_layer_offset(layer + 1);
    while (to < end) *to++ = scale * (2.0f * drover_random_uniformf(&random) - 1.0f);
  }
}

/* What a tick does to an env, whoever evaluated the network: contributions follow activations with a lag, weighted by
 * a fixed sign for each muscle. Returns the mean activation. */
static inline float nested_advance(float input[NESTED_INPUTS], const float *activations) {
  float sum = 0.0f;
  for (int i = 0; i < NESTED_MUSCLES; i++) {
    const float sign = i % 2 == 0 ? 1.0f : -1.0f;
    input[i] = 0.9f * input[i] + 0.1f * sign * activations[i];
    sum += activations[i];
  }
  return sum / (float)NESTED_MUSCLES;
}

/* The torques wanted in control step `step` of env `env`: uniform in [-1, 1). */
static inline void nested_want(float input[NESTED_INPUTS], uint64_t seed, uint32_t env, uint64_t step) {
  drover_random random = drover_random_at(seed, env, DROVER_RANDOM_STEP, step);
  for (int i = 0; i < NESTED_TORQUES; i++) input[NESTED_MUSCLES + i] = 2.0f * drover_random_uniformf(&random) - 1.0f;
}

#endif
