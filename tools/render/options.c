/* options.c: the options of `drover render`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/render/render.h"

enum {
  KEY_OUT = 'o',
  KEY_DETERMINISTIC = DR_KEY_OWN,
  KEY_STOCHASTIC,
  KEY_SIZE,
  KEY_FPS,
  KEY_EVERY,
  KEY_STEP,
  KEY_FRAMES,
  KEY_COLUMNS,
  KEY_CAMERA,
  KEY_VIEW,
  KEY_NO_CAPTION,
  MIN_SIDE = 16,
  MAX_SIDE = 4096,
  MAX_FRAMES = 400
};

static const struct argp_option rows[] = {
    {NULL, 0, NULL, 0, "What is played:", 1},
    DR_OPTION_ENV,
    DR_OPTION_ENV_ARG,
    DR_OPTION_POLICY,
    DR_OPTION_INNER_POLICY,
    {"deterministic", KEY_DETERMINISTIC, NULL, 0, "The policy's mode (default for a file)", 1},
    {"stochastic", KEY_STOCHASTIC, NULL, 0, "Samples of the policy, as in training (default otherwise)", 1},
    DR_OPTION_TRANSFORM,
    {"steps", DR_KEY_STEPS, "T", 0, "How many (default: to the end of the first episode, 1,000 at most)", 1},
    DR_OPTION_SEED,
    {NULL, 0, NULL, 0, "What is drawn:", 2},
    {"out", KEY_OUT, "FILE", 0, "A .gif, .png or .mp4; must be given", 2},
    {"size", KEY_SIZE, "WxH", 0, "Pixels of a frame (default 480x360; PNG 640x480, in a sheet 240x180)", 2},
    {"fps", KEY_FPS, "F", 0, "Frames a second (default: as fast as the env's own time passes)", 2},
    {"every", KEY_EVERY, "K", 0, "Draw every K-th step (default: as many as the film can show)", 2},
    {"step", KEY_STEP, "T", 0, "PNG: draw the moment after step T (default: the last; 0 = the first)", 2},
    {"frames", KEY_FRAMES, "N", 0, "PNG: N moments, evenly spaced from first to last, on one sheet", 2},
    {"columns", KEY_COLUMNS, "C", 0, "PNG: how many of them side by side (default: up to 8)", 2},
    {"camera", KEY_CAMERA, "NAME", 0, "MuJoCo: follow (default), free, or a camera of the model", 2},
    {"view", KEY_VIEW, "A,E[,D]", 0, "MuJoCo: azimuth and elevation (degrees), distance (m)", 2},
    {"no-caption", KEY_NO_CAPTION, NULL, 0, "No line with env, step and return", 2},
    DR_OPTION_JSON,
    DR_OPTION_QUIET,
    {0}};

static void parse_size(dr_render_request *request, const char *text) {
  int width = 0, height = 0, end = 0;
  if (sscanf(text, "%4dx%4d%n", &width, &height, &end) != 2 || text[end] != '\0' || width < MIN_SIDE ||
      width > MAX_SIDE || height < MIN_SIDE || height > MAX_SIDE)
    dr_usage_error("render", "--size must be WxH with sides of %d..%d pixels, such as 640x480, got '%s'", MIN_SIDE,
                   MAX_SIDE, text);
  request->picture.width = width;
  request->picture.height = height;
}

static void parse_view(dr_render_request *request, const char *text) {
  dr_picture_options *p = &request->picture;
  int end = 0;
  p->distance = 0;
  int count = sscanf(text, "%lf,%lf%n", &p->azimuth, &p->elevation, &end);
  if (count == 2 && text[end] == ',') count += sscanf(text, "%*f,%*f,%lf%n", &p->distance, &end);
  p->has_view = count >= 2 && text[end] == '\0' && p->azimuth >= -360 && p->azimuth <= 360 && p->elevation >= -90 &&
                p->elevation <= 90 && p->distance >= 0 && p->distance <= 1e6;
  if (!p->has_view)
    dr_usage_error("render",
                   "--view must be AZIMUTH,ELEVATION[,DISTANCE] in degrees (-360..360, -90..90) and metres, such as "
                   "120,-20,5, got '%s'",
                   text);
}

static error_t parse(int key, char *arg, struct argp_state *state) {
  dr_render_request *request = state->input;
  const char *command = request->common.command;
  switch (key) {
    case KEY_OUT:
      request->out = arg;
      return 0;
    case KEY_DETERMINISTIC:
    case KEY_STOCHASTIC:
      request->sampling = key;
      return 0;
    case KEY_SIZE:
      parse_size(request, arg);
      return 0;
    case KEY_FPS:
      request->frames_per_second = dr_options_real(command, "fps", arg, 0.1, 1000);
      return 0;
    case KEY_EVERY:
      request->every = (int)dr_options_integer(command, "every", arg, 1, 1000000, true);
      return 0;
    case KEY_STEP:
      request->still = (int32_t)dr_options_integer(command, "step", arg, 0, 16777216, false);
      return 0;
    case KEY_FRAMES:
      request->num_frames = (int)dr_options_integer(command, "frames", arg, 1, MAX_FRAMES, false);
      return 0;
    case KEY_COLUMNS:
      request->columns = (int)dr_options_integer(command, "columns", arg, 1, MAX_FRAMES, true);
      return 0;
    case KEY_CAMERA:
      request->picture.camera = arg;
      return 0;
    case KEY_VIEW:
      parse_view(request, arg);
      return 0;
    case KEY_NO_CAPTION:
      request->no_caption = true;
      return 0;
    default:
      return dr_options_parse(key, arg, &request->common);
  }
}

/* What one kind of file has and another has not. */
static void check_kind(const dr_render_request *request) {
  if (!request->out) dr_usage_error("render", "--out FILE must be given: a .gif, .png or .mp4");
  if (request->kind == DR_FILM_UNKNOWN)
    dr_usage_error("render", "--out must end in .gif, .png or .mp4, got '%s'", request->out);
  dr_options_check_output("render", "out", request->out);
  const bool still = request->still >= 0, sheet = request->num_frames > 0 || request->columns > 0;
  const bool film = request->frames_per_second > 0 || request->every > 0;
  if (request->kind != DR_FILM_PNG && (still || sheet))
    dr_usage_error("render", "--step, --frames and --columns are for a .png, and --out is '%s'", request->out);
  if (request->kind == DR_FILM_PNG && film)
    dr_usage_error("render", "--fps and --every are for a .gif or .mp4, and --out is '%s'", request->out);
  if (still && (sheet || request->common.num_steps > 0))
    dr_usage_error("render", "--step draws one moment: it cannot be given with --steps, --frames or --columns");
  if (request->kind == DR_FILM_GIF && request->frames_per_second > 50)
    dr_usage_error("render", "--fps: a .gif shows at most 50 frames a second, got %g; write a .mp4",
                   request->frames_per_second);
}

static void complete(dr_render_request *request) {
  dr_options *common = &request->common;
  request->kind = request->out ? dr_film_kind_of(request->out) : DR_FILM_UNKNOWN;
  check_kind(request);
  if (!common->env) common->env = "CartPole-v1";
  if (!common->policy) common->policy = "random";
  request->type = dr_find_env("render", common->env);
  dr_policy_choice_parse(&request->policy, "render", common->policy, NULL);
  dr_inner_choice_parse(&request->inner_policy, "render", common->inner_policy);
  request->deterministic =
      request->sampling ? request->sampling == KEY_DETERMINISTIC : request->policy.kind == DR_POLICY_FILE;
  if (request->num_frames == 0) request->num_frames = 1;
  if (request->columns == 0 || request->columns > request->num_frames)
    request->columns = request->columns == 0 && request->num_frames > 8 ? 8 : request->num_frames;
  dr_picture_options *picture = &request->picture;
  if (picture->width > 0) return;
  const bool png = request->kind == DR_FILM_PNG, sheet = request->num_frames > 1;
  picture->width = sheet ? 240 : png ? 640 : 480;
  picture->height = picture->width * 3 / 4;
}

void dr_render_parse(dr_render_request *request, int argc, char **argv) {
  static const struct argp argp = {
      rows,
      parse,
      NULL,
      "Play an environment under a policy and draw it, without a screen.\v"
      "One seed gives one play: `drover rollout --num-envs 1` with the same --seed, --policy and --env takes the same "
      "steps.\n\n"
      "The classic environments and gait2d are drawn as vectors, those of MuJoCo by its renderer (OSMesa or EGL, on "
      "the CPU: a frame of 1280x720 takes some tenths of a second), any other as a chart of its observations and "
      "rewards. MP4 needs ffmpeg.\n\n"
      "Examples:\n"
      "  drover render --env CartPole-v1 --out cartpole.gif\n"
      "  drover render --env HalfCheetah-v5 --policy cheetah.safetensors --out run.mp4\n"
      "  drover render --env Ant-v5 --steps 200 --every 2 --view 90,-30 --out ant.gif\n"
      "  drover render --env Humanoid-v5 --frames 8 --out strip.png\n"
      "  drover render --env mujoco --env-arg model=arm.xml --step 100 --out arm.png\n"
      "\n"
      "Defaults: CartPole-v1, random actions.",
      NULL,
      NULL,
      NULL};
  *request = (dr_render_request){.common = {.command = "render"}, .still = -1};
  dr_options_run(&argp, "render", argc, argv, request);
  complete(request);
}
