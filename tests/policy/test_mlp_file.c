/* test_mlp_file.c: networks on disk: round trips, the reference implementation's files, and a message for each fault.
 */
#include <unistd.h>

#include "policy/mlp_policy.h"
#include "policy/safetensors.h"
#include "tests/policy/reference.h"

static char path[] = "/tmp/drover-mlp-XXXXXX";

static void make_path(void) {
  const int descriptor = mkstemp(path);
  cr_assert_geq(descriptor, 0);
  close(descriptor);
}

static void remove_path(void) { unlink(path); }

TestSuite(mlp_file, .init = make_path, .fini = remove_path);

Test(mlp_file, what_is_saved_is_loaded_bit_for_bit) {
  for (int head = 0; head <= DROVER_HEAD_UNIT; head++)
    for (int activation = 0; activation <= DROVER_ACTIVATION_IDENTITY; activation++) {
      drover_mlp_options options = test_options(5, activation, 9, 3, (drover_head)head, (drover_activation)activation);
      options.leaky_slope = 0.1f;
      options.has_values = activation % 2;
      options.shared_values = activation == DROVER_ACTIVATION_TANH;
      options.noise_hold = 1 + 7 * activation;
      options.normalize_observations = head == DROVER_HEAD_UNIT;
      options.initial_log_std = -0.7f;
      dr_mlp_policy *saved = NULL, *loaded = NULL;
      cr_assert_eq(dr_mlp_policy_new(&saved, &options, NULL), DROVER_OK);
      cr_assert_eq(dr_mlp_file_write(saved, path), DROVER_OK, "%s", drover_last_error());
      cr_assert_eq(dr_mlp_file_read(&loaded, path), DROVER_OK, "%s", drover_last_error());
      const dr_mlp *a = &saved->inference->mlp, *b = &loaded->inference->mlp;
      cr_assert_eq(a->num_weights, b->num_weights);
      cr_assert_eq(compare_bytes(saved->present->flat, loaded->present->flat, a->num_weights * sizeof(float)), 0);
      cr_assert_eq(b->options.activation, options.activation);
      cr_assert_eq(b->options.head, options.head);
      cr_assert_eq(b->options.has_values, options.has_values);
      cr_assert_eq(b->options.num_hidden, options.num_hidden);
      cr_assert_eq(b->options.leaky_slope, 0.1f);
      cr_assert_eq(b->options.shared_values, options.shared_values);
      cr_assert_eq(b->options.noise_hold, options.noise_hold);
      cr_assert_eq(b->options.normalize_observations, options.normalize_observations);
      cr_assert_eq(compare_bytes(b->options.hidden, options.hidden, (size_t)options.num_hidden * sizeof(int32_t)), 0);
      dr_mlp_policy_free(saved);
      dr_mlp_policy_free(loaded);
    }
}

Test(mlp_file, a_network_by_the_reference_implementation_is_loaded) {
  dr_mlp_policy *self = NULL;
  cr_assert_eq(dr_mlp_file_read(&self, FIXTURES "/python.safetensors"), DROVER_OK, "%s", drover_last_error());
  const dr_mlp *mlp = &self->inference->mlp;
  cr_assert_eq(mlp->options.observation_size, 3);
  cr_assert_eq(mlp->options.num_hidden, 1);
  cr_assert_eq(mlp->options.hidden[0], 4);
  cr_assert_eq(mlp->options.num_outputs, 2);
  cr_assert_eq(mlp->options.head, DROVER_HEAD_GAUSSIAN);
  cr_assert_eq(mlp->options.activation, DROVER_ACTIVATION_LEAKY_RELU);
  cr_assert_eq(mlp->options.leaky_slope, 0.25f);
  cr_assert_eq(mlp->options.has_values, 1);
  const dr_layer *layer = &mlp->layers[DR_CHAIN_VALUE][0];
  for (size_t i = 0; i < 12; i++) cr_assert_eq(self->present->flat[layer->weights_at + i], (float)i / 8);
  dr_mlp_policy_free(self);
}

/* A good network's file, with one thing changed. */
typedef struct parts {
  dr_metadata metadata[4];
  int32_t num_metadata;
  dr_tensor tensors[10];
  int32_t num_tensors;
} parts;

static float numbers[64];
static double wide_numbers[64];

static parts good_parts(void) {
  for (int i = 0; i < 64; i++) numbers[i] = 0.1f * (float)i;
  return (parts){
      .metadata = {{"activation", "tanh"}, {"head", "gaussian"}, {"format", "drover-mlp-1"}, {"leaky_slope", "0.2"}},
      .num_metadata = 4,
      .tensors = {{"layers.0.weight", DR_DTYPE_F32, 2, {4, 3}, numbers},
                  {"layers.0.bias", DR_DTYPE_F32, 1, {4}, numbers},
                  {"layers.1.weight", DR_DTYPE_F32, 2, {2, 4}, numbers},
                  {"layers.1.bias", DR_DTYPE_F32, 1, {2}, numbers},
                  {"log_std", DR_DTYPE_F32, 1, {2}, numbers},
                  {"value.0.weight", DR_DTYPE_F32, 2, {4, 3}, numbers},
                  {"value.0.bias", DR_DTYPE_F32, 1, {4}, numbers},
                  {"value.1.weight", DR_DTYPE_F32, 2, {1, 4}, numbers},
                  {"value.1.bias", DR_DTYPE_F32, 1, {1}, numbers}},
      .num_tensors = 9,
  };
}

static void write_parts(const parts *p) {
  cr_assert_eq(dr_safetensors_write(path, p->metadata, p->num_metadata, p->tensors, p->num_tensors), DROVER_OK, "%s",
               drover_last_error());
}

static void refuse(const parts *p, const char *sentence) {
  write_parts(p);
  dr_mlp_policy *self = NULL;
  cr_assert_eq(dr_mlp_file_read(&self, path), DROVER_ERROR_FORMAT);
  cr_assert_null(self);
  cr_assert_eq(strncmp(drover_last_error(), path, strlen(path)), 0, "%s", drover_last_error());
  cr_assert_not_null(strstr(drover_last_error(), sentence), "wanted '%s', got '%s'", sentence, drover_last_error());
}

Test(mlp_file, metadata_that_is_missing_or_unknown_is_named) {
  parts p = good_parts();
  write_parts(&p);
  dr_mlp_policy *self = NULL;
  cr_assert_eq(dr_mlp_file_read(&self, path), DROVER_OK, "%s", drover_last_error());
  dr_mlp_policy_free(self);
  p.num_metadata = 0;
  refuse(&p, "the metadata has no 'activation'");
  p.num_metadata = 1;
  refuse(&p, "the metadata has no 'head'");
  p = good_parts();
  p.metadata[0].value = "swish";
  refuse(&p, "the metadata's activation 'swish' is unknown");
  p = good_parts();
  p.metadata[1].value = "beta";
  refuse(&p, "the metadata's head 'beta' is unknown");
  p = good_parts();
  p.metadata[2].value = "drover-mlp-9";
  refuse(&p, "format must be 'drover-mlp-1', it is 'drover-mlp-9'");
  static const char *const slopes[] = {"steep", "", "2", "nan", "0.2x"};
  for (int i = 0; i < 5; i++) {
    p = good_parts();
    p.metadata[3].value = slopes[i];
    refuse(&p, "leaky_slope must be 0..1");
  }
}

Test(mlp_file, tensors_that_do_not_fit_are_named) {
  parts p = good_parts();
  p.tensors[0].name = "first.weight";
  refuse(&p, "tensor 'layers.0.weight' is missing");
  p = good_parts();
  p.tensors[3].name = "layers.1.offset";
  refuse(&p, "tensor 'layers.1.bias' is missing");
  p = good_parts();
  p.tensors[4].name = "log_var";
  refuse(&p, "tensor 'log_std' is missing");
  p = good_parts();
  p.tensors[7].name = "value.7.weight";
  refuse(&p, "tensor 'value.1.weight' is missing");
  p = good_parts();
  p.tensors[9] = (dr_tensor){"extra", DR_DTYPE_F32, 1, {1}, numbers};
  p.num_tensors = 10;
  refuse(&p, "tensor 'extra' has no place in this network");
  p = good_parts();
  p.tensors[2].dtype = DR_DTYPE_F64;
  p.tensors[2].data = wide_numbers;
  refuse(&p, "tensor 'layers.1.weight' must be F32, it is F64");
  p = good_parts();
  p.tensors[0].rank = 1;
  refuse(&p, "tensor 'layers.0.weight' must have 2 dimensions, it has 1");
  p = good_parts();
  p.tensors[2].shape[1] = 5;
  refuse(&p, "tensor 'layers.1.weight': dimension 1 must be 4 to fit its neighbours, it is 5");
  p = good_parts();
  p.tensors[1].shape[0] = 3;
  refuse(&p, "tensor 'layers.0.bias': dimension 0 must be 4 to fit its neighbours, it is 3");
  p = good_parts();
  p.tensors[5].shape[0] = 3;
  refuse(&p, "tensor 'value.0.weight': dimension 0 must be 4");
  p = good_parts();
  p.tensors[0].shape[0] = 0;
  refuse(&p, "tensor 'layers.0.weight': dimension 0 must be 1..65536, it is 0");
}

Test(mlp_file, shared_values_are_one_layer_and_said_by_the_metadata) {
  parts p = good_parts();
  p.metadata[3] = (dr_metadata){"shared_values", "1"};
  refuse(&p, "tensor 'value.0.weight' has no place in this network");
  p.tensors[5] = p.tensors[7];
  p.tensors[6] = p.tensors[8];
  p.num_tensors = 7;
  write_parts(&p);
  dr_mlp_policy *self = NULL;
  cr_assert_eq(dr_mlp_file_read(&self, path), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(self->inference->mlp.options.shared_values, 1);
  cr_assert_eq(self->inference->mlp.options.has_values, 1);
  dr_mlp_policy_free(self);
  p.num_tensors = 5;
  refuse(&p, "tensor 'value.1.weight' is missing");
  p = good_parts();
  p.metadata[3] = (dr_metadata){"shared_values", "yes"};
  refuse(&p, "the metadata's shared_values must be 0 or 1, it is 'yes'");
  p.metadata[3] = (dr_metadata){"noise_hold", "0"};
  refuse(&p, "the metadata's noise_hold must be 1..65536, it is '0'");
  p.metadata[3] = (dr_metadata){"noise_hold", "3 steps"};
  refuse(&p, "the metadata's noise_hold must be 1..65536, it is '3 steps'");
}

Test(mlp_file, moments_of_observations_come_both_and_in_range) {
  static float moments[3] = {0.5f, 1, 2};
  parts p = good_parts();
  p.tensors[9] = (dr_tensor){"observation.mean", DR_DTYPE_F32, 1, {3}, moments};
  p.num_tensors = 10;
  refuse(&p, "tensor 'observation.std' is missing");
  p.tensors[8] = (dr_tensor){"observation.std", DR_DTYPE_F32, 1, {3}, moments};
  refuse(&p, "tensor 'value.1.bias' is missing");
  p.tensors[8] = p.tensors[6];
  p.tensors[5] = (dr_tensor){"observation.std", DR_DTYPE_F32, 1, {3}, moments};
  p.tensors[6] = p.tensors[9];
  p.num_tensors = 7;
  write_parts(&p);
  dr_mlp_policy *self = NULL;
  cr_assert_eq(dr_mlp_file_read(&self, path), DROVER_OK, "%s", drover_last_error());
  const dr_mlp *mlp = &self->inference->mlp;
  cr_assert_eq(mlp->options.normalize_observations, 1);
  cr_assert_eq(mlp->options.has_values, 0);
  cr_assert_eq(compare_bytes(self->present->flat + mlp->mean_at, moments, sizeof moments), 0);
  cr_assert_eq(compare_bytes(self->present->flat + mlp->std_at, moments, sizeof moments), 0);
  dr_mlp_policy_free(self);
  moments[1] = 0;
  refuse(&p, "tensor 'observation.std': number 1 must be finite and above 0, it is 0");
  moments[1] = INFINITY;
  refuse(&p, "tensor 'observation.mean': number 1 must be finite, it is inf");
  moments[1] = 1;
  p.tensors[5].shape[0] = 2;
  refuse(&p, "tensor 'observation.std': dimension 0 must be 3 to fit its neighbours, it is 2");
}

Test(mlp_file, numbers_that_are_not_finite_are_named) {
  static float bad[12] = {0};
  parts p = good_parts();
  bad[5] = NAN;
  p.tensors[5].data = bad;
  refuse(&p, "tensor 'value.0.weight': number 5 must be finite, it is nan");
  bad[5] = INFINITY;
  refuse(&p, "tensor 'value.0.weight': number 5 must be finite, it is inf");
  p = good_parts();
  bad[5] = 0;
  bad[1] = 30;
  p.tensors[4].data = bad;
  refuse(&p, "tensor 'log_std': number 1 must be -20..20, it is 30");
}

Test(mlp_file, more_layers_than_allowed_are_refused) {
  dr_tensor tensors[2 * 17];
  char names[2 * 17][32];
  for (int i = 0; i < 17; i++) {
    snprintf(names[2 * i], 32, "layers.%d.weight", i);
    snprintf(names[2 * i + 1], 32, "layers.%d.bias", i);
    tensors[2 * i] = (dr_tensor){names[2 * i], DR_DTYPE_F32, 2, {1, 1}, numbers};
    tensors[2 * i + 1] = (dr_tensor){names[2 * i + 1], DR_DTYPE_F32, 1, {1}, numbers};
  }
  const parts p = good_parts();
  cr_assert_eq(dr_safetensors_write(path, p.metadata, 4, tensors, 34), DROVER_OK);
  dr_mlp_policy *self = NULL;
  cr_assert_eq(dr_mlp_file_read(&self, path), DROVER_ERROR_FORMAT);
  cr_assert_not_null(strstr(drover_last_error(), "it has more than 16 layers"));
}
