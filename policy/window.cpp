/* window.cpp: `operator new` that can be pointed at a buffer for a while. C++ because oneDNN's allocations are, and
 * only a C++ file can define the operators.
 *
 * The definitions are weak and, in the shared library, local to it (the symbol map exports drover_* only): the oneDNN
 * archive inside the library uses them, the host does not. A host that links the static library and has operators of
 * its own keeps those. Outside a window they do what the standard ones do. Under AddressSanitizer they are left out:
 * it wants to see new and delete matched across libraries. */
#include "policy/window.h"

#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

struct Window {
  char *begin; /* NULL = closed */
  char *next;
  char *end;
  long live; /* taken from the buffer and not freed */
};

/* The default model on purpose: initial-exec needs static TLS, of which a library opened late may find none left. */
thread_local Window window;

}  // namespace

extern "C" void dr_window_open(void *buffer, size_t bytes) {
  window.next = static_cast<char *>(buffer);
  window.end = window.next + bytes;
  window.begin = window.next;
  window.live = 0;
}

extern "C" long dr_window_close(void) {
  window.begin = nullptr;
  return window.live;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace {

void *allocate(std::size_t size) {
  if (window.begin) {
    const std::size_t rounded = (size + 15) & ~static_cast<std::size_t>(15);
    if (rounded >= size && rounded <= static_cast<std::size_t>(window.end - window.next)) {
      void *const taken = window.next;
      window.next += rounded;
      window.live++;
      return taken;
    }
  }
  for (;;) {
    if (void *const taken = std::malloc(size ? size : 1)) return taken;
    const std::new_handler handler = std::get_new_handler();
    if (!handler) throw std::bad_alloc();
    handler();
  }
}

void release(void *pointer) noexcept {
  if (window.begin && pointer >= static_cast<void *>(window.begin) && pointer < static_cast<void *>(window.end)) {
    window.live--;
    return;
  }
  std::free(pointer);
}

}  // namespace

#define DR_WEAK __attribute__((weak))

DR_WEAK void *operator new(std::size_t size) { return allocate(size); }
DR_WEAK void *operator new[](std::size_t size) { return allocate(size); }
DR_WEAK void operator delete(void *pointer) noexcept { release(pointer); }
DR_WEAK void operator delete[](void *pointer) noexcept { release(pointer); }
DR_WEAK void operator delete(void *pointer, std::size_t) noexcept { release(pointer); }
DR_WEAK void operator delete[](void *pointer, std::size_t) noexcept { release(pointer); }

#endif
