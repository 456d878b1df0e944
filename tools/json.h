/* json.h: the little that jansson lacks for us. */
#ifndef DR_TOOLS_JSON_H
#define DR_TOOLS_JSON_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* A number; null where it is not finite, because JSON has no other word for it. New reference. */
json_t *dr_json_number(double value);

/* A 64-bit digest as 16 hexadecimal digits. New reference. */
json_t *dr_json_digest(uint64_t digest);

/* An array of `count` numbers. New reference. */
json_t *dr_json_numbers(const double *values, size_t count);
json_t *dr_json_floats(const float *values, size_t count);

/* One object on one line of standard output, flushed; takes the reference over. Returns 0, or -1 if it could not be
 * made (out of memory). */
int dr_json_print(json_t *object);

#endif
