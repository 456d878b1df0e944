/* format.h: numbers as a person likes to read them. Each call fills the caller's buffer (32 bytes are enough) and
 * returns it. */
#ifndef DR_TOOLS_FORMAT_H
#define DR_TOOLS_FORMAT_H

#include <stdint.h>

enum { DR_FORMAT_BYTES = 32 };

/* 1,048,576 */
char *dr_format_integer(char *out, int64_t value);

/* Four significant digits and a decimal prefix: "3.412 M", "850". */
char *dr_format_scaled(char *out, double value);

/* "4.2 GiB", "64 B" */
char *dr_format_bytes(char *out, double bytes);

/* "1.234 s", "12.3 ms", "2 min 05 s" */
char *dr_format_seconds(char *out, double seconds);

#endif
