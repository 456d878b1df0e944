/* mkl.c: a stand-in for libmkl_rt.so: a process-wide count and each thread's own, 0 = the process's. */
#include <stdio.h>

static int process_threads = 4;
static _Thread_local int local_threads;
static int num_process_calls; /* of the process-wide setter, which nobody may call */

int MKL_Get_Max_Threads(void);
int MKL_Set_Num_Threads_Local(int n);
void MKL_Set_Num_Threads(int n);
void MKL_Get_Version_String(char *text, int size);
int stub_num_process_calls(void);

int MKL_Get_Max_Threads(void) { return local_threads > 0 ? local_threads : process_threads; }
int MKL_Set_Num_Threads_Local(int n) {
  const int last = local_threads;
  local_threads = n;
  return last;
}
void MKL_Set_Num_Threads(int n) {
  num_process_calls++;
  process_threads = n;
}
void MKL_Get_Version_String(char *text, int size) {
  snprintf(text, (size_t)size,
           "Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 for Intel(R) 64");
}
int stub_num_process_calls(void) { return num_process_calls; }
