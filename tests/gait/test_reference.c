/* test_reference.c: the gait cycle: tables good and bad, the spline through them. */
#include <unistd.h>

#include "tests/gait/gait_harness.h"

static const char header[] = "percent,hip,knee,ankle\n";
static dr_gait_reference reference;
static char message[256];

static int parse(const char *text) {
  message[0] = '\0';
  return dr_gait_reference_parse(&reference, text, strlen(text), "x.csv", message, sizeof message);
}

/* `rows` after the header. */
static int parse_rows(const char *rows) {
  char text[4096];
  snprintf(text, sizeof text, "%s%s", header, rows);
  return parse(text);
}

/* The published cycle: per cent, hip, knee, ankle in degrees. */
static const double walking[15][4] = {{0, 30, 5, 0},    {10, 25, 16, -3},  {20, 15, 16, 4},   {30, 4, 9, 7},
                                      {40, -5, 5, 10},  {50, -11, 11, 5},  {55, -11, 21, -5}, {60, -7, 35, -17},
                                      {65, 2, 50, -19}, {70, 12, 60, -12}, {75, 21, 61, -5},  {80, 27, 53, -1},
                                      {85, 31, 37, 1},  {90, 32, 18, 1},   {95, 31, 4, 0}};

Test(gait_reference, the_built_in_cycle_goes_through_the_published_angles) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  cr_assert_eq(gait_world(&h)->reference.num_knots, 15);
  for (int row = 0; row < 15; row++)
    for (int cycle = -2; cycle <= 2; cycle++) {
      double angle[3], slope[3];
      dr_gait_reference_leg(&gait_world(&h)->reference, walking[row][0] / 100 + cycle, angle, slope);
      for (int j = 0; j < 3; j++) cr_assert_float_eq(angle[j] * 180 / M_PI, walking[row][1 + j], 1e-9);
    }
  gait_close(&h);
}

Test(gait_reference, the_left_leg_is_half_a_cycle_later) {
  harness h;
  gait_open(&h, 1, NULL, NULL);
  for (int i = 0; i < 50; i++) {
    double now[6], later[6], velocity[6];
    dr_gait_reference_joints(gait_world(&h), i / 50.0, 1.2, now, velocity);
    dr_gait_reference_joints(gait_world(&h), i / 50.0 + 0.5, 1.2, later, velocity);
    for (int j = 0; j < 3; j++) cr_assert_float_eq(now[j], later[3 + j], 1e-12);
  }
  gait_close(&h);
}

/* Of a cubic spline, value, slope and second derivative go on over every knot and over the end of the cycle; and slopes
 * are the derivatives of values. */
Test(gait_reference, a_spline_is_smooth_everywhere) {
  cr_assert_eq(parse_rows("2.5,0,1,2\n10,30,-5,7\n11,31,0,0\n60,-20,40,3\n97,2,2,2\n"), 0, "%s", message);
  const double small = 1e-6;
  for (int32_t knot = 0; knot < reference.num_knots; knot++) {
    double before[3], after[3], slope_before[3], slope_after[3], farther_before[3], farther_after[3], unused[3];
    const double at = reference.phase[knot];
    dr_gait_reference_leg(&reference, at - small, before, slope_before);
    dr_gait_reference_leg(&reference, at + small, after, slope_after);
    dr_gait_reference_leg(&reference, at - 2 * small, unused, farther_before);
    dr_gait_reference_leg(&reference, at + 2 * small, unused, farther_after);
    for (int j = 0; j < 3; j++) {
      const double bend_before = (slope_before[j] - farther_before[j]) / small;
      const double bend_after = (farther_after[j] - slope_after[j]) / small;
      const double slope = (slope_before[j] + slope_after[j]) / 2;
      cr_assert_float_eq((after[j] - before[j]) / (2 * small), slope, 1e-6 + 1e-3 * fabs(slope));
      cr_assert_float_eq(slope_after[j] - slope_before[j], small * (bend_before + bend_after), 1e-6);
      cr_assert_float_eq(bend_after, bend_before, 0.5 + 1e-3 * fabs(bend_before), "knot %d: %g, %g", knot, bend_before,
                         bend_after);
    }
  }
}

/* A sampled sine is fitted to the fourth order: 16 times better with twice the knots. */
Test(gait_reference, a_spline_comes_close_to_a_sine) {
  double worst[2] = {0, 0};
  for (int fine = 0; fine < 2; fine++) {
    char rows[2048] = "";
    const int n = fine ? 20 : 10;
    for (int i = 0; i < n; i++) {
      const double at = 100.0 * i / n;
      snprintf(rows + strlen(rows), sizeof rows - strlen(rows), "%.17g,%.17g,0,0\n", at, 90 * sin(2 * M_PI * at / 100));
    }
    cr_assert_eq(parse_rows(rows), 0, "%s", message);
    for (int i = 0; i < 997; i++) {
      double angle[3], slope[3];
      dr_gait_reference_leg(&reference, i / 997.0, angle, slope);
      worst[fine] = fmax(worst[fine], fabs(angle[0] - M_PI / 2 * sin(2 * M_PI * i / 997.0)));
    }
  }
  cr_assert(worst[1] < 1e-3 && worst[0] / worst[1] > 12 && worst[0] / worst[1] < 20, "%g, %g", worst[0], worst[1]);
}

Test(gait_reference, rows_as_near_as_may_be_give_a_finite_spline) {
  cr_assert_eq(parse_rows("0,180,180,180\n0.01,-180,-180,-180\n50,0,0,0\n99.99,-180,-180,-180\n"), 0, "%s", message);
  for (int i = 0; i <= 10000; i++) {
    double angle[3], slope[3];
    dr_gait_reference_leg(&reference, i / 10000.0, angle, slope);
    for (int j = 0; j < 3; j++) cr_assert(isfinite(angle[j]) && isfinite(slope[j]));
  }
}

Test(gait_reference, comments_blank_lines_and_a_closing_row_are_allowed) {
  cr_assert_eq(
      parse("# a comment\n\npercent,hip,knee,ankle\r\n0,1,2,3\r\n# another\n25,2,3,4\n\n50,3,4,5\n 75 , 2,3,4\n"), -1);
  cr_assert_eq(
      parse("# a comment\n\npercent,hip,knee,ankle\r\n0,1,2,3\r\n# another\n25,2,3,4\n\n50, 3,4,5  \n75,2,3,4"), 0,
      "%s", message);
  cr_assert_eq(reference.num_knots, 4);
  cr_assert_eq(parse_rows("0,1,2,3\n25,2,3,4\n50,3,4,5\n75,2,3,4\n100,1,2,3\n"), 0, "%s", message);
  cr_assert_eq(reference.num_knots, 4);
}

/* Every refusal names the file, and where there is one the line, and says what would be right. */
Test(gait_reference, a_bad_table_is_refused_with_a_reason) {
  static const struct {
    const char *rows, *says;
  } bad[] = {{"", "at least 4 rows, got 0"},
             {"0,1,2,3\n30,1,2,3\n60,1,2,3\n", "at least 4 rows, got 3"},
             {"0,1,2\n", "line 2: a row must be four numbers"},
             {"0,1,2,3,4\n", "line 2: a row must be four numbers"},
             {"0,1,2,x\n", "got '0,1,2,x'"},
             {"0,1,,3\n", "four numbers"},
             {"0;1;2;3\n", "four numbers"},
             {"0,1,2,nan\n", "four numbers"},
             {"0,inf,2,3\n", "four numbers"},
             {"0,1,2,3\n10,400,2,3\n", "line 3: angles are degrees"},
             {"0,1,2,3\n0,1,2,3\n", "line 3: percent must increase"},
             {"50,1,2,3\n40,1,2,3\n", "percent must increase"},
             {"-1,1,2,3\n", "percent must increase"},
             {"0,1,2,3\n1e-300,1,2,4\n", "line 3: percent must increase from row to row by 0.01"},
             {"0,1,2,3\n25,2,3,4\n50,3,4,5\n99.9999999,1,2,4\n", "line 5: the last row must be 0.01 per cent"},
             {"101,1,2,3\n", "percent must increase"},
             {"0,1,2,3\n25,2,3,4\n50,3,4,5\n75,2,3,4\n100,1,2,4\n", "must repeat the row at 0"},
             {"5,1,2,3\n25,2,3,4\n50,3,4,5\n75,2,3,4\n100,1,2,3\n", "must repeat the row at 0"},
             {"0,1,2,3\n25,2,3,4\n50,3,4,5\n75,2,3,4\n100,1,2,3\n100,1,2,3\n", "nothing may follow"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    cr_assert_eq(parse_rows(bad[i].rows), -1, "%s", bad[i].rows);
    cr_assert(strstr(message, "x.csv") && strstr(message, bad[i].says), "%s", message);
  }
  cr_assert_eq(parse("hip,knee,ankle\n0,1,2\n"), -1);
  cr_assert(strstr(message, "the first line must be percent,hip,knee,ankle"), "%s", message);
  cr_assert_eq(parse(""), -1);
}

Test(gait_reference, long_lines_many_rows_and_bytes_that_are_no_text_are_refused) {
  static char text[1 << 20];
  memset(text, '1', sizeof text);
  cr_assert_eq(dr_gait_reference_parse(&reference, text, sizeof text, "x.csv", message, sizeof message), -1);
  strcpy(text, header);
  for (int i = 0; i <= DR_GAIT_MAX_ROWS; i++) snprintf(text + strlen(text), 40, "%.4f,0,0,0\n", i * 0.09);
  cr_assert_eq(parse(text), -1);
  cr_assert(strstr(message, "at most 1000 rows"), "%s", message);
  cr_assert_eq(
      dr_gait_reference_parse(&reference, "percent\0,hip,knee,ankle\n0,1,2,3", 30, "x", message, sizeof message), -1);

  uint64_t random = test_seed();
  for (int trial = 0; trial < 3000; trial++) { /* bytes at random, many of them from the alphabet of tables */
    static const char alphabet[] = "0123456789.,-e \n\n#";
    char bytes[300];
    size_t size = test_random(&random) % sizeof bytes, i = 0;
    if (trial % 2)
      for (; i < sizeof header - 1 && i < size; i++) bytes[i] = header[i];
    for (; i < size; i++)
      bytes[i] = test_random(&random) % 20 ? alphabet[test_random(&random) % (sizeof alphabet - 1)]
                                           : (char)(test_random(&random) & 255);
    (void)dr_gait_reference_parse(&reference, bytes, size, "x", message, sizeof message);
  }
}

Test(gait_reference, a_users_file_is_used) {
  char path[] = "/tmp/drover_gait_XXXXXX";
  const int file = mkstemp(path);
  const char text[] = "percent,hip,knee,ankle\n0,10,20,0\n25,0,30,5\n50,-10,20,0\n75,0,30,-5\n";
  cr_assert_eq(write(file, text, sizeof text - 1), (ssize_t)(sizeof text - 1));
  close(file);
  const drover_env_arg args[] = {{"reference", path}, {"reset_phase", "0.25"}, {"reset_noise", "0"}};
  harness h;
  cr_assert(gait_try_open(&h, 1, args, 3), "%s", h.message);
  unlink(path);
  harness_reset(&h, 0, 0);
  const double wanted[6] = {0, 30, 5, 0, 30, -5};
  for (int j = 0; j < 6; j++)
    cr_assert_float_eq(gait_env(&h, 0)->data->qpos[DR_GAIT_ROOT + j] * 180 / M_PI, wanted[j], 1e-9);
  gait_close(&h);
}

Test(gait_reference, a_missing_file_is_refused_with_its_path) {
  const drover_env_arg args[] = {{"reference", "/no/such/file.csv"}};
  harness h;
  cr_assert(!gait_try_open(&h, 1, args, 1));
  cr_assert(strstr(h.message, "/no/such/file.csv: cannot be opened"), "%s", h.message);
  const drover_env_arg folder[] = {{"reference", "/tmp"}};
  cr_assert(!gait_try_open(&h, 1, folder, 1));
  cr_assert(strstr(h.message, "/tmp"), "%s", h.message);
}
