/* fault.h: why an env failed: what is counted, and the sentence that is kept for people.
 *
 * Env e has room for two sentences: of its latest step and of the reset after it. They mean something where the high or
 * low half of batch->faults[e] says so, and are written, with it, by the worker that has claimed row e. Their memory is
 * not touched before an env fails. */
#ifndef DR_RUNTIME_FAULT_H
#define DR_RUNTIME_FAULT_H

#include "runtime/batch.h"

typedef enum dr_fault_place { DR_FAULT_OF_STEP = 0, DR_FAULT_OF_RESET = 1 } dr_fault_place;

/* Ask the env type why env e has just failed; keep `otherwise` if it does not say. */
void dr_fault_ask(drover_batch *batch, int32_t e, dr_fault_place place, const char *otherwise);

/* Keep which of these numbers is the first that is not finite: "WHAT[3] is nan", or "WHAT is nan" of one. False if all
 * are finite. */
bool dr_fault_find(drover_batch *batch, int32_t e, dr_fault_place place, const char *what, const float *numbers,
                   size_t count);

/* Reasons of env e's latest step and of the reset after it, 0 = it did not fail; and the sentences. */
static inline uint8_t dr_fault_of_step(const drover_batch *batch, int32_t e) { return batch->faults[e] & 15; }
static inline uint8_t dr_fault_of_reset(const drover_batch *batch, int32_t e) { return batch->faults[e] >> 4; }
static inline const char *dr_fault_text(const drover_batch *batch, int32_t e, dr_fault_place place) {
  return batch->fault_texts[e][place];
}

/* Note the fault that was explained in this place. DROVER_ERROR_FAULTS if it is one too many. */
drover_status dr_fault_note(drover_batch *batch, int32_t e, dr_fault_place place, drover_fault_reason reason);

#endif
