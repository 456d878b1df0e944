/* test.h: Criterion, whose assertion macros (2.4.1) convert int to a one-bit field in the test's own code: without the
 * pragma every assertion is a -Wconversion warning. */
#ifndef DR_TESTS_THREADS_TEST_H
#define DR_TESTS_THREADS_TEST_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"

#endif
