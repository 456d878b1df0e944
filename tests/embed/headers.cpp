/* headers.cpp: the public headers are C++17 too, and what they declare links from there. */
#include <drover/drover.h>

#include <cstring>

int main() {
  drover_random random = drover_random_at(1, 2, DROVER_RANDOM_USER, 3);
  const double number = drover_random_uniform(&random);
  return std::strcmp(drover_status_name(DROVER_OK), "DROVER_OK") == 0 && number >= 0 && number < 1 ? 0 : 1;
}
