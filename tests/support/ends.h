/* ends.h: toy_env trouble that ends episodes in every way there is. */
#ifndef DR_TESTS_SUPPORT_ENDS_H
#define DR_TESTS_SUPPORT_ENDS_H

#include "tests/support/toy_env.h"

/* Ends of every kind, at the first row, at the last row and in between. */
static const toy_trouble ends[] = {
    {TOY_TERMINATE, 0, 0},        {TOY_TRUNCATE, 1, 0},   {TOY_TERMINATE, 2, 0},   {TOY_TRUNCATE, 2, 0},
    {TOY_FAIL_STEP, 3, 0},        {TOY_TERMINATE, 4, 9},  {TOY_TRUNCATE, 5, 9},    {TOY_TERMINATE, 6, 9},
    {TOY_TRUNCATE, 6, 9},         {TOY_NAN_REWARD, 7, 9}, {TOY_TERMINATE, 8, 19},  {TOY_TRUNCATE, 9, 19},
    {TOY_TERMINATE, 10, 19},      {TOY_TRUNCATE, 10, 19}, {TOY_FAIL_STEP, 11, 19}, {TOY_TERMINATE, 12, 5},
    {TOY_FAIL_RESET, 12, 1},      {TOY_NAN_RESET, 12, 2}, {TOY_TRUNCATE, 13, 5},   {TOY_TRUNCATE, 13, 6},
    {TOY_NAN_OBSERVATION, 14, 7}, {TOY_FAIL_STEP, 14, 8}, {TOY_FAIL_RESET, 15, 0}};

#endif
