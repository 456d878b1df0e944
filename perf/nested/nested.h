/* nested.h: the entry of `drover bench nested` (tools/bench_nested.c). */
#ifndef DR_PERF_NESTED_NESTED_H
#define DR_PERF_NESTED_NESTED_H

/* argv[0] is "nested". The program's exit code. */
int dr_bench_nested(int argc, char **argv);

#endif
