/* fault.c: why envs fail: sentences, counting, and the limit. */
#include "runtime/fault.h"

#include <inttypes.h>
#include <stdio.h>

#include "runtime/error.h"
#include "runtime/runtime.h"

/* An env's own words, as one line that any terminal, log or JSON file can hold: printable ASCII, no full stop. */
static void clean(char text[DROVER_FAULT_TEXT]) {
  text[DROVER_FAULT_TEXT - 1] = '\0';
  size_t length = 0;
  for (; text[length]; length++) {
    const unsigned char c = (unsigned char)text[length];
    text[length] = c < ' ' ? ' ' : c > '~' ? '?' : (char)c;
  }
  while (length > 0 && (text[length - 1] == '.' || text[length - 1] == ' ')) length--;
  text[length] = '\0';
}

void dr_fault_ask(drover_batch *batch, int32_t e, dr_fault_place place, const char *otherwise) {
  char *text = batch->fault_texts[e][place];
  const drover_env_type *type = batch->type;
  text[0] = '\0';
  if (dr_env_type_can_explain(type))
    type->explain(batch->shared, batch->states + (size_t)e * batch->spec.state_size, text, DROVER_FAULT_TEXT);
  clean(text);
  if (!text[0]) snprintf(text, DROVER_FAULT_TEXT, "%s", otherwise);
}

bool dr_fault_find(drover_batch *batch, int32_t e, dr_fault_place place, const char *what, const float *numbers,
                   size_t count) {
  size_t i = 0;
  while (i < count && dr_is_finite(numbers[i])) i++;
  if (i == count) return false;
  const char *value = numbers[i] != numbers[i] ? "nan" : numbers[i] > 0 ? "inf" : "-inf";
  char *text = batch->fault_texts[e][place];
  if (count == 1)
    snprintf(text, DROVER_FAULT_TEXT, "%s is %s", what, value);
  else
    snprintf(text, DROVER_FAULT_TEXT, "%s[%zu] is %s", what, i, value);
  return true;
}

drover_status dr_fault_note(drover_batch *batch, int32_t e, dr_fault_place place, drover_fault_reason reason) {
  batch->faults[e] |= (uint8_t)(place == DR_FAULT_OF_RESET ? reason << 4 : reason);
  const int64_t count = atomic_fetch_add_explicit(&batch->num_faults, 1, memory_order_relaxed) + 1;
  if (count <= batch->options.fault_limit) return DROVER_OK;
  return dr_fail(DROVER_ERROR_FAULTS,
                 "%s: env %d failed %s its step %" PRIu64 ": %s; that is fault %" PRId64 ", fault_limit is %" PRId64,
                 batch->type->name, (int)e, place == DR_FAULT_OF_RESET ? "in the reset before" : "at",
                 batch->lifetime_steps[e], dr_fault_text(batch, e, place), count, batch->options.fault_limit);
}

drover_status drover_batch_get_fault(drover_batch *batch, int32_t env, drover_batch_fault *out) {
  drover_status status = dr_handle_check(batch, DR_HANDLE_BATCH, "batch get_fault");
  if (status == DROVER_OK) status = dr_runtime_check_fork(batch->runtime, "batch get_fault");
  if (status != DROVER_OK) return status;
  if (!out || out->size != sizeof *out)
    return dr_fail(DROVER_ERROR_ARGUMENT, "batch get_fault: set out->size to sizeof(drover_batch_fault), %zu",
                   sizeof *out);
  if (env < 0 || env >= batch->num_envs)
    return dr_fail(DROVER_ERROR_ARGUMENT, "batch get_fault: env must be 0..%d, got %d", (int)batch->num_envs - 1,
                   (int)env);
  if (dr_exchange_holds(batch, env))
    return dr_fail(DROVER_ERROR_STATE, "batch get_fault: env %d is in flight; receive it first", (int)env);
  *out = (drover_batch_fault){.size = sizeof *out, .text = "", .reset_text = ""};
  out->reason = dr_fault_of_step(batch, env);
  out->reset_reason = dr_fault_of_reset(batch, env);
  if (out->reason) out->text = dr_fault_text(batch, env, DR_FAULT_OF_STEP);
  if (out->reset_reason) out->reset_text = dr_fault_text(batch, env, DR_FAULT_OF_RESET);
  return DROVER_OK;
}
