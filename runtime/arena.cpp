/* arena.cpp: C++ because oneTBB has no C API. Plain C outward; every exception becomes a status.
 *
 * libtbb is not instrumented for ThreadSanitizer, so its inline code here is not either (runtime/CMakeLists.txt), and
 * the one edge that the runtime relies on through it (what was written before an enqueue is visible to the task) is
 * told to the sanitizer, if it is there. */
#include "runtime/arena.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/task_arena.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <set>

#include "runtime/error.h"

extern "C" void __tsan_acquire(void *) __attribute__((weak));
extern "C" void __tsan_release(void *) __attribute__((weak));
extern "C" void __lsan_ignore_object(const void *) __attribute__((weak));

struct dr_arena {
  tbb::task_arena arena;
  int32_t num_workers;
};

namespace {

drover_status failed(const char *what) noexcept {
  try {
    throw;
  } catch (const std::bad_alloc &) {
    return dr_fail(DROVER_ERROR_NO_MEMORY, "task arena: %s: out of memory", what);
  } catch (const std::exception &e) {
    return dr_fail(DROVER_ERROR_INTERNAL, "task arena: %s: %s", what, e.what());
  } catch (...) {
    return dr_fail(DROVER_ERROR_INTERNAL, "task arena: %s: unknown exception from oneTBB", what);
  }
}

/* oneTBB's limit is process-wide, and of several global_controls the smallest counts: so all arenas share one, for the
 * largest of them, and only while that exceeds what oneTBB would give by itself. */
class shared_limit {
 public:
  void add(int32_t num_workers) {
    const std::lock_guard<std::mutex> hold(lock_);
    const auto request = requests_.insert(num_workers);
    try {
      apply();
    } catch (...) {
      requests_.erase(request);
      throw;
    }
  }
  void remove(int32_t num_workers) {
    const std::lock_guard<std::mutex> hold(lock_);
    requests_.erase(requests_.find(num_workers));
    apply();
  }

 private:
  void apply() {
    const int32_t most = requests_.empty() ? 0 : *requests_.rbegin();
    if (most <= tbb::info::default_concurrency()) {
      control_.reset();
      current_ = 0;
    } else if (most != current_) {
      control_.reset(); /* first: a smaller one beside it would count */
      control_.reset(
          new tbb::global_control(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(most)));
      current_ = most;
    }
  }
  std::mutex lock_;
  std::multiset<int32_t> requests_;
  std::unique_ptr<tbb::global_control> control_;
  int32_t current_ = 0;
};

/* Never destroyed: arenas may be destroyed while the process ends. */
shared_limit &limit() {
  static shared_limit *const made = new shared_limit;
  return *made;
}

}  // namespace

extern "C" drover_status dr_arena_create(dr_arena **out, int32_t num_workers) {
  try {
    std::unique_ptr<dr_arena> made(new dr_arena);
    made->num_workers = num_workers;
    limit().add(num_workers); /* first: else oneTBB prints a warning that it is limited */
    try {
      made->arena.initialize(num_workers, 1);
    } catch (...) {
      limit().remove(num_workers);
      throw;
    }
    *out = made.release();
    return DROVER_OK;
  } catch (...) {
    return failed("create");
  }
}

extern "C" void dr_arena_destroy(dr_arena *arena) {
  try {
    const int32_t num_workers = arena->num_workers;
    delete arena;
    limit().remove(num_workers);
  } catch (...) {
    failed("destroy");
  }
}

extern "C" drover_status dr_arena_execute(dr_arena *arena, dr_arena_fn fn, void *arg) {
  try {
    arena->arena.execute([=] { fn(arg, 0, 0); });
    return DROVER_OK;
  } catch (...) {
    return failed("execute");
  }
}

extern "C" drover_status dr_arena_enqueue(dr_arena *arena, dr_arena_fn fn, void *arg, uint64_t word) {
  try {
    if (__tsan_release) __tsan_release(arg);
    /* A task that has not begun when the process ends holds the only pointer to it, where LeakSanitizer does not look.
     */
    if (__lsan_ignore_object) __lsan_ignore_object(arg);
    arena->arena.enqueue([=] {
      if (__tsan_acquire) __tsan_acquire(arg);
      fn(arg, word, tbb::this_task_arena::current_thread_index());
    });
    return DROVER_OK;
  } catch (...) {
    return failed("enqueue");
  }
}
