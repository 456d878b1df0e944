/* json.c: the little that jansson lacks for us. */
#include "tools/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

json_t *dr_json_number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

json_t *dr_json_digest(uint64_t digest) {
  char text[17];
  snprintf(text, sizeof text, "%016" PRIx64, digest);
  return json_string(text);
}

json_t *dr_json_numbers(const double *values, size_t count) {
  json_t *array = json_array();
  for (size_t i = 0; i < count; i++) json_array_append_new(array, dr_json_number(values[i]));
  return array;
}

json_t *dr_json_floats(const float *values, size_t count) {
  json_t *array = json_array();
  for (size_t i = 0; i < count; i++) json_array_append_new(array, dr_json_number((double)values[i]));
  return array;
}

int dr_json_print(json_t *object) {
  /* Nine digits are more than any clock here is good for, and bring every float32 back as it was. */
  const int failed = !object || json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) != 0;
  if (failed)
    fputs("drover: the JSON report could not be made\n", stderr);
  else
    putchar('\n');
  fflush(stdout);
  json_decref(object);
  return failed ? -1 : 0;
}
