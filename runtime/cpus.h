/* cpus.h: CPU lists as Linux writes them ("0-7,16"). */
#ifndef DR_RUNTIME_CPUS_H
#define DR_RUNTIME_CPUS_H

#include <drover/base.h>
#include <sched.h>
#include <stdbool.h>

/* Parse a list; `what` begins the message of an error. At least one CPU. */
drover_status dr_cpus_parse(const char *text, cpu_set_t *out, const char *what);

/* The CPUs of a NUMA node, from /sys below filesystem_root (NULL = "/"). */
drover_status dr_cpus_of_node(const char *filesystem_root, int32_t node, cpu_set_t *out);

#endif
