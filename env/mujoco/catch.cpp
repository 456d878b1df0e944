/* catch.cpp: C++ because MuJoCo's parser and compiler are: what they throw must not end the process. */
#include <exception>
#include <new>

#include "env/mujoco/engine.h"

bool dr_mj_call(void (*body)(void *context), void *context, const char **what) {
  try {
    body(context);
    return true;
  } catch (const std::bad_alloc &) {
    *what = "out of memory";
  } catch (...) {
    *what = "MuJoCo threw an exception";
  }
  return false;
}
