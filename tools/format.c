/* format.c: numbers as a person likes to read them. */
#include "tools/format.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

char *dr_format_integer(char *out, int64_t value) {
  char digits[24];
  const uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  const int count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)magnitude);
  char *to = out;
  if (value < 0) *to++ = '-';
  for (int i = 0; i < count; i++) {
    if (i > 0 && (count - i) % 3 == 0) *to++ = ',';
    *to++ = digits[i];
  }
  *to = '\0';
  return out;
}

/* How many decimals leave four significant digits. */
static int decimals_of(double value) {
  const double magnitude = fabs(value);
  return magnitude >= 1000 ? 0 : magnitude >= 100 ? 1 : magnitude >= 10 ? 2 : 3;
}

char *dr_format_scaled(char *out, double value) {
  static const char *const prefixes[] = {"", " k", " M", " G", " T"};
  int prefix = 0;
  while (fabs(value) >= 1000 && prefix < 4) {
    value /= 1000;
    prefix++;
  }
  const int decimals = prefix == 0 && value == floor(value) ? 0 : decimals_of(value);
  snprintf(out, DR_FORMAT_BYTES, "%.*f%s", decimals, value, prefixes[prefix]);
  return out;
}

char *dr_format_bytes(char *out, double bytes) {
  static const char *const prefixes[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int prefix = 0;
  while (bytes >= 1024 && prefix < 4) {
    bytes /= 1024;
    prefix++;
  }
  snprintf(out, DR_FORMAT_BYTES, "%.*f %s", prefix == 0 || bytes >= 100 ? 0 : 1, bytes, prefixes[prefix]);
  return out;
}

char *dr_format_seconds(char *out, double seconds) {
  if (seconds >= 120)
    snprintf(out, DR_FORMAT_BYTES, "%.0f min %02.0f s", floor(seconds / 60), floor(fmod(seconds, 60)));
  else if (seconds >= 1)
    snprintf(out, DR_FORMAT_BYTES, "%.*f s", seconds >= 10 ? 1 : 3, seconds);
  else if (seconds >= 1e-3)
    snprintf(out, DR_FORMAT_BYTES, "%.*f ms", seconds >= 0.1 ? 0 : 2, seconds * 1e3);
  else
    snprintf(out, DR_FORMAT_BYTES, "%.1f us", seconds * 1e6);
  return out;
}
