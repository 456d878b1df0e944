/* fuzz_tables.c: texts: the log of `drover train`, the reference table of gait2d, MJCF models. */
#include <drover/drover.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/support/check.h"
#include "tools/plot_log.h"

/* ---- The log of `drover train` ------------------------------------------------------------------------------- */

static const char log_text[] =
    "update,steps,seconds,steps_per_second,episodes,mean_return,mean_length,policy_loss,value_loss,info.a,weights\n"
    "1,1024,0.5,2048,3,21.5,21.5,-0.01,3.5,0.25,0123456789abcdef\n"
    "2,2048,1.0,2048,9,25,25,-0.02,2.5,,fedcba9876543210\n"
    "3,3072,1.5,2048,12,31.25,30,0.005,1.5,1e-3,0000000000000001\n";
static const char *const log_words[] = {"update", "steps", "seconds", "mean_return", "weights", ",", ",,,,,,,,",
                                        "\r\n",   "nan",   "-",       "\xff",        "info.x",  NULL};
static FILE *nowhere;
static int told; /* what stderr was */

static void open_log(void) {
  nowhere = fopen("/dev/null", "w");
  told = dup(STDERR_FILENO);
}

/* Its sentences go to stderr, as the command's do: to a file while it reads. */
static void attempt_log(drover_random *random) {
  fuzz_bytes input = fuzz_text(log_text);
  fuzz_change_text(&input, log_words, random);
  fuzz_input(&input);
  fuzz_write(fuzz_path, &input);
  fuzz_free(&input);
  char words[128 + 8];
  snprintf(words, sizeof words, "%s.words", fuzz_path);
  FILE *sentence = fopen(words, "w+");
  fflush(stderr);
  dup2(fileno(sentence), STDERR_FILENO);
  dr_plot_log log;
  const int failed = dr_plot_log_read(&log, "plot", fuzz_path);
  fflush(stderr);
  dup2(told, STDERR_FILENO);
  if (failed) {
    char line[512] = "";
    rewind(sentence);
    if (!fgets(line, sizeof line, sentence)) line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    fuzz_refused(DROVER_ERROR_FORMAT, line);
  } else {
    fuzz_accepted();
    for (int i = 0; i < log.num_columns; i++)
      if (dr_plot_log_column(&log, log.names[i])) dr_plot_log_bins(&log, log.columns[i], nowhere);
    dr_plot_log_free(&log);
  }
  fclose(sentence);
  unlink(words);
}

static void close_log(void) {
  fclose(nowhere);
  close(told);
}

const fuzz_format fuzz_log = {.name = "log", .open = open_log, .attempt = attempt_log, .close = close_log};

#ifdef DROVER_MUJOCO
#include "env/gait/reference.h"
#include "runtime/error.h"

/* ---- The reference table of gait2d --------------------------------------------------------------------------- */

static const char table[] =
    "# made up\npercent,hip,knee,ankle\n0,25,5,0\n10,20,15,-5\n25,10,10,5\n50,-10,10,10\n62.5,0,40,-15\n75,20,60,0\n"
    "90,30,20,2\n100,25,5,0\n";
static const char *const table_words[] = {"percent", "hip", "knee", "ankle", "#", "\n\n", "100", "0.0000001", NULL};

static void open_nothing(void) {}

/* Angles between knots stay within reach of the knots': a table of degrees gives no whirl. */
static void check_reference(const dr_gait_reference *reference) {
  for (int i = 0; i < 200; i++) {
    double angle[DR_GAIT_LEG_JOINTS], slope[DR_GAIT_LEG_JOINTS];
    dr_gait_reference_leg(reference, i * 0.005, angle, slope);
    for (int j = 0; j < DR_GAIT_LEG_JOINTS; j++) {
      if (isfinite(angle[j]) && isfinite(slope[j]) && fabs(angle[j]) < 1e6) continue;
      fuzz_fail("at phase %g the angle is %g, its slope %g", i * 0.005, angle[j], slope[j]);
      return;
    }
  }
}

static void attempt_reference(drover_random *random) {
  fuzz_bytes input = fuzz_text(table);
  fuzz_change_text(&input, table_words, random);
  fuzz_input(&input);
  fuzz_write(fuzz_path, &input);
  fuzz_free(&input);
  static dr_gait_reference reference;
  char message[512] = "";
  if (dr_gait_reference_load(&reference, fuzz_path, message, sizeof message)) {
    fuzz_refused(dr_fail_with(DROVER_ERROR_ENV, message), drover_last_error()); /* as the runtime passes it on */
    return;
  }
  fuzz_accepted();
  check_reference(&reference);
}

const fuzz_format fuzz_reference = {
    .name = "reference", .open = open_nothing, .attempt = attempt_reference, .close = open_nothing};

/* ---- MJCF models --------------------------------------------------------------------------------------------- */

static const char model[] =
    "<mujoco model=\"cart\">\n"
    "  <compiler angle=\"radian\"/>\n"
    "  <option timestep=\"0.01\" gravity=\"0 0 -9.81\" integrator=\"Euler\"/>\n"
    "  <worldbody>\n"
    "    <geom type=\"plane\" size=\"5 5 0.1\"/>\n"
    "    <body name=\"cart\" pos=\"0 0 1\">\n"
    "      <joint name=\"slide\" type=\"slide\" axis=\"1 0 0\" range=\"-2 2\" limited=\"true\" damping=\"0.1\"/>\n"
    "      <geom type=\"capsule\" fromto=\"-0.1 0 0 0.1 0 0\" size=\"0.1\" density=\"500\"/>\n"
    "      <body name=\"pole\" pos=\"0 0 0.1\">\n"
    "        <joint name=\"hinge\" type=\"hinge\" axis=\"0 1 0\"/>\n"
    "        <geom type=\"capsule\" fromto=\"0 0 0 0 0 0.6\" size=\"0.05\" density=\"1000\"/>\n"
    "      </body>\n"
    "    </body>\n"
    "  </worldbody>\n"
    "  <actuator><motor joint=\"slide\" ctrlrange=\"-3 3\" ctrllimited=\"true\" gear=\"10\"/></actuator>\n"
    "  <sensor><jointpos joint=\"hinge\" name=\"angle\"/></sensor>\n"
    "</mujoco>\n";
static const char *const model_words[] = {"slide",   "hinge", "ball",  "free", "motor",   "muscle", "timestep", "body",
                                          "joint",   "geom",  "plane", "box",  "capsule", "RK4",    "range",    "size",
                                          "limited", "1 2 3", "cart",  "\"",   "<",       "/>",     NULL};
static drover_runtime *runtime;
static const drover_env_type *type;

static void open_model(void) {
  drover_runtime_options options;
  OK(drover_runtime_options_init(&options, sizeof options));
  options.num_workers = 1;
  OK(drover_runtime_create(&runtime, &options));
  OK(drover_env_find("mujoco", &type));
}

static void step_model(drover_batch *batch) {
  drover_batch_view view = {.size = sizeof view};
  OK(drover_batch_get_view(batch, &view));
  float *actions = calloc((size_t)view.num_envs * (size_t)view.spec->action_size, sizeof *actions);
  for (int step = 0; step < 10; step++) {
    const drover_status status = drover_batch_step(batch, actions);
    if (status) {
      fuzz_refused(status, drover_last_error());
      break;
    }
    for (int32_t i = 0; i < view.num_envs * view.spec->observation_size; i++)
      FUZZ_EXPECT(isfinite(view.observations[i]), "%g is observed", (double)view.observations[i]);
  }
  free(actions);
}

static void attempt_model(drover_random *random) {
  fuzz_bytes input = fuzz_text(model);
  fuzz_change_text(&input, model_words, random);
  fuzz_input(&input);
  fuzz_write(fuzz_path, &input);
  fuzz_free(&input);
  const drover_env_arg args[] = {{"model", fuzz_path}, {"reward", "angle:1"}, {"healthy", "qpos[0]:-5:5"}};
  drover_batch_options options;
  OK(drover_batch_options_init(&options, sizeof options));
  options.num_envs = 2;
  options.args = (drover_env_args){3, args};
  drover_batch *batch = NULL;
  const drover_status status = drover_batch_create(&batch, runtime, type, &options);
  if (status) {
    fuzz_refused(status, drover_last_error());
    return;
  }
  fuzz_accepted();
  step_model(batch);
  OK(drover_batch_destroy(batch));
}

static void close_model(void) { OK(drover_runtime_destroy(runtime)); }

const fuzz_format fuzz_model = {.name = "model", .open = open_model, .attempt = attempt_model, .close = close_model};
#endif
