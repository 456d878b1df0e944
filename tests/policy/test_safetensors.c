/* test_safetensors.c: good files, bad files with a message each, hostile files by the thousand. */
#include "policy/safetensors.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/policy/reference.h"

static char folder[] = "/tmp/drover-safetensors-XXXXXX";
static char path[sizeof folder + 16];

static void make_folder(void) {
  cr_assert_not_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/file", folder);
}

static int count_files(void) {
  int count = 0;
  DIR *listing = opendir(folder);
  for (struct dirent *entry; (entry = readdir(listing)) != NULL;) count += entry->d_name[0] != '.';
  closedir(listing);
  return count;
}

static void remove_folder(void) {
  snprintf(path, sizeof path, "%s/file", folder);
  unlink(path);
  rmdir(folder);
}

TestSuite(safetensors, .init = make_folder, .fini = remove_folder);

/* Damaged files are made in memory: path becomes one that leads there. */
static void write_bytes(const void *bytes, size_t count) {
  static int descriptor = -1;
  if (descriptor < 0) descriptor = memfd_create("damaged", MFD_CLOEXEC);
  cr_assert_geq(descriptor, 0);
  cr_assert_eq(ftruncate(descriptor, 0), 0);
  cr_assert_eq(pwrite(descriptor, bytes, count, 0), (ssize_t)count);
  snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
}

/* A file of this header and `data_bytes` bytes of data. */
static void write_header(const char *header, size_t data_bytes) {
  const uint64_t length = strlen(header);
  char *bytes = calloc(1, 8 + length + data_bytes + 1);
  memcpy(bytes, &length, 8);
  snprintf(bytes + 8, length + 1, "%s", header);
  write_bytes(bytes, 8 + length + data_bytes);
  free(bytes);
}

static void refuse(drover_status status, const char *sentence) {
  dr_safetensors *file = NULL;
  cr_assert_eq(dr_safetensors_open(&file, path), status);
  cr_assert_null(file);
  cr_assert_eq(strncmp(drover_last_error(), path, strlen(path)), 0, "the message must name the file: %s",
               drover_last_error());
  cr_assert_not_null(strstr(drover_last_error(), sentence), "wanted '%s', got '%s'", sentence, drover_last_error());
}

static void refuse_header(const char *header, size_t data_bytes, const char *sentence) {
  write_header(header, data_bytes);
  refuse(DROVER_ERROR_FORMAT, sentence);
}

Test(safetensors, what_is_written_is_read_back) {
  const float weights[6] = {1, 2, 3, 4, 5, -6.5f};
  const uint8_t flags[3] = {1, 0, 1};
  const double scalar = 2.5;
  const int64_t none = 0;
  const dr_tensor tensors[] = {
      {"flags", DR_DTYPE_U8, 1, {3}, flags},
      {"weights", DR_DTYPE_F32, 2, {2, 3}, weights},
      {"scalar", DR_DTYPE_F64, 0, {0}, &scalar},
      {"empty", DR_DTYPE_I64, 2, {0, 4}, &none},
  };
  const dr_metadata metadata[] = {{"format", "test-1"}, {"note", "quotes \" and \xC3\xA9"}};
  cr_assert_eq(dr_safetensors_write(path, metadata, 2, tensors, 4), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(count_files(), 1);
  dr_safetensors *file = NULL;
  cr_assert_eq(dr_safetensors_open(&file, path), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(dr_safetensors_count(file), 4);
  cr_assert_str_eq(dr_safetensors_metadata(file, "format"), "test-1");
  cr_assert_str_eq(dr_safetensors_metadata(file, "note"), "quotes \" and \xC3\xA9");
  cr_assert_null(dr_safetensors_metadata(file, "other"));
  cr_assert_null(dr_safetensors_find(file, "other"));
  const dr_tensor *found = dr_safetensors_find(file, "weights");
  cr_assert_not_null(found);
  cr_assert_eq(found->dtype, DR_DTYPE_F32);
  cr_assert_eq(found->rank, 2);
  cr_assert_eq(found->shape[0], 2);
  cr_assert_eq(found->shape[1], 3);
  cr_assert_eq(compare_bytes(found->data, weights, sizeof weights), 0);
  cr_assert_eq(compare_bytes(dr_safetensors_find(file, "flags")->data, flags, sizeof flags), 0);
  cr_assert_eq(compare_bytes(dr_safetensors_find(file, "scalar")->data, &scalar, sizeof scalar), 0);
  cr_assert_eq(dr_safetensors_find(file, "empty")->shape[1], 4);
  dr_safetensors_close(file);
}

Test(safetensors, a_file_without_tensors_or_metadata_is_good) {
  cr_assert_eq(dr_safetensors_write(path, NULL, 0, NULL, 0), DROVER_OK);
  dr_safetensors *file = NULL;
  cr_assert_eq(dr_safetensors_open(&file, path), DROVER_OK);
  cr_assert_eq(dr_safetensors_count(file), 0);
  cr_assert_null(dr_safetensors_metadata(file, "format"));
  dr_safetensors_close(file);
}

Test(safetensors, a_file_by_the_reference_implementation_is_read) {
  dr_safetensors *file = NULL;
  cr_assert_eq(dr_safetensors_open(&file, FIXTURES "/python.safetensors"), DROVER_OK, "%s", drover_last_error());
  cr_assert_eq(dr_safetensors_count(file), 9);
  cr_assert_str_eq(dr_safetensors_metadata(file, "activation"), "leaky_relu");
  const dr_tensor *tensor = dr_safetensors_find(file, "layers.1.weight");
  cr_assert_not_null(tensor);
  float numbers[8];
  memcpy(numbers, tensor->data, sizeof numbers);
  for (int i = 0; i < 8; i++) cr_assert_eq(numbers[i], (float)i / 8);
  dr_safetensors_close(file);
}

Test(safetensors, files_that_cannot_be_read_are_io_errors) {
  refuse(DROVER_ERROR_IO, "cannot open: No such file or directory");
  cr_assert_eq(mkdir(path, 0700), 0);
  refuse(DROVER_ERROR_IO, "not a regular file");
  rmdir(path);
  cr_assert_eq(mkfifo(path, 0600), 0);
  refuse(DROVER_ERROR_IO, "not a regular file");
}

Test(safetensors, short_and_truncated_files_are_refused) {
  write_bytes("", 0);
  refuse(DROVER_ERROR_FORMAT, "0 bytes are too few");
  write_bytes("\x02\0\0\0\0\0\0\0{", 9);
  refuse(DROVER_ERROR_FORMAT, "9 bytes are too few");
  write_bytes("\x40\0\0\0\0\0\0\0{}", 10);
  refuse(DROVER_ERROR_FORMAT, "the header length is 64 but only 2 bytes follow: a truncated file?");
  write_bytes("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}", 10);
  refuse(DROVER_ERROR_FORMAT, "over the limit of 100000000");
  refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7,
                "'a': data_offsets 0..8 are not within the 7 bytes of data");
}

Test(safetensors, headers_that_are_not_json_objects_are_refused) {
  refuse_header("{\"a\":", 0, "the header is not valid JSON");
  refuse_header("[1,2]", 0, "the header is not a JSON object");
  refuse_header("{} x", 0, "the header is not valid JSON");
  refuse_header("{\"\xFF\":1}", 0, "the header is not valid JSON");
  refuse_header(
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
      "\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
      0, "duplicate");
}

Test(safetensors, bad_metadata_is_refused) {
  refuse_header("{\"__metadata__\":3}", 0, "__metadata__ is not a JSON object");
  refuse_header("{\"__metadata__\":{\"k\":3}}", 0, "__metadata__: the value of 'k' is not a string");
}

Test(safetensors, bad_tensor_entries_are_refused_by_name) {
  refuse_header("{\"a\":3}", 0, "tensor 'a' is not a JSON object");
  refuse_header("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor 'a' has no dtype");
  refuse_header("{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
                "tensor 'a' has the unknown dtype 'F33'");
  refuse_header("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "tensor 'a' has no shape");
  refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
                "tensor 'a' has 9 dimensions, at most 8 are supported");
  refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,-1],\"data_offsets\":[0,4]}}", 4,
                "tensor 'a': dimension 1 must be a whole number, at least 0");
  refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, "dimension 0 must be a whole");
  refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "tensor 'a': data_offsets must be two whole numbers");
  refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "must be two whole numbers");
  refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,\"4\"]}}", 4, "must be two whole numbers");
  refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4,
                "data_offsets -4..0 are not within the 4 bytes");
  refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "4..0 are not within");
  refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,9223372036854775807]}}", 4,
                "0..9223372036854775807 are not within the 4 bytes");
  refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
                "tensor 'a' should have 8 bytes of data, data_offsets give 4");
  refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4,
                "tensor 'a': the shape overflows");
  refuse_header("{\"a\":{\"dtype\":\"F64\",\"shape\":[4611686018427387904],\"data_offsets\":[0,4]}}", 4,
                "the shape overflows");
}

Test(safetensors, data_must_be_covered_exactly) {
  refuse_header(
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
      "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
      6, "tensor 'b' overlaps tensor 'a'");
  refuse_header(
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
      "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[4,6]}}",
      6, "2 bytes before tensor 'b' belong to no tensor");
  refuse_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 5,
                "3 bytes of data at the end belong to no tensor");
  refuse_header("{}", 1, "1 bytes of data at the end belong to no tensor");
}

Test(safetensors, what_cannot_be_written_is_refused) {
  const float number = 1;
  const dr_tensor twice[] = {{"a", DR_DTYPE_F32, 1, {1}, &number}, {"a", DR_DTYPE_F32, 1, {1}, &number}};
  cr_assert_eq(dr_safetensors_write(path, NULL, 0, twice, 2), DROVER_ERROR_ARGUMENT);
  cr_assert_not_null(strstr(drover_last_error(), "two tensors are named 'a'"));
  const dr_tensor reserved = {"__metadata__", DR_DTYPE_F32, 1, {1}, &number};
  cr_assert_eq(dr_safetensors_write(path, NULL, 0, &reserved, 1), DROVER_ERROR_ARGUMENT);
  const dr_tensor no_data = {"a", DR_DTYPE_F32, 1, {1}, NULL};
  cr_assert_eq(dr_safetensors_write(path, NULL, 0, &no_data, 1), DROVER_ERROR_ARGUMENT);
  const dr_tensor no_text = {"\xFF\xFE", DR_DTYPE_F32, 1, {1}, &number};
  cr_assert_eq(dr_safetensors_write(path, NULL, 0, &no_text, 1), DROVER_ERROR_ARGUMENT);
  cr_assert_not_null(strstr(drover_last_error(), "not UTF-8"));
  cr_assert_eq(count_files(), 0);
}

Test(safetensors, a_failed_write_leaves_the_old_file_and_nothing_else) {
  const float number = 1;
  const dr_tensor small = {"a", DR_DTYPE_F32, 1, {1}, &number};
  cr_assert_eq(dr_safetensors_write(path, NULL, 0, &small, 1), DROVER_OK);
  float *big_data = calloc(1 << 20, sizeof *big_data);
  const dr_tensor big = {"big", DR_DTYPE_F32, 1, {1 << 20}, big_data};
  signal(SIGXFSZ, SIG_IGN);
  const struct rlimit limit = {1 << 16, 1 << 16};
  cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
  cr_assert_eq(dr_safetensors_write(path, NULL, 0, &big, 1), DROVER_ERROR_IO);
  cr_assert_not_null(strstr(drover_last_error(), "cannot write: File too large"), "%s", drover_last_error());
  cr_assert_eq(count_files(), 1, "a temporary file was left behind");
  dr_safetensors *file = NULL;
  cr_assert_eq(dr_safetensors_open(&file, path), DROVER_OK);
  cr_assert_not_null(dr_safetensors_find(file, "a"));
  dr_safetensors_close(file);
  free(big_data);
  cr_assert_eq(dr_safetensors_write("/nonexistent/folder/file", NULL, 0, &small, 1), DROVER_ERROR_IO);
  cr_assert_eq(dr_safetensors_write("/dev/null", NULL, 0, &small, 1), DROVER_ERROR_IO,
               "/dev/null must not be replaced");
}

/* Bytes changed, cut, inserted and swapped at random: whatever the reader says, it must not read out of bounds (the
 * asan preset runs this), and what it accepts must be consistent. */
Test(safetensors, thousands_of_damaged_files_do_no_harm) {
  uint64_t random = test_seed();
  FILE *in = fopen(FIXTURES "/python.safetensors", "rb");
  cr_assert_not_null(in);
  static unsigned char good[4096], bad[8192];
  const size_t size = fread(good, 1, sizeof good, in);
  fclose(in);
  const uint64_t header_bytes = (uint64_t)good[0] | (uint64_t)good[1] << 8;
  static const char alphabet[] = "0123456789-.,:[]{}\"eFUI";
  int accepted = 0, refused = 0;
  for (int round = 0; round < 6000; round++) {
    size_t length = size;
    memcpy(bad, good, size);
    for (uint64_t change = test_random(&random) % 4 + 1; change > 0; change--) {
      const size_t in_header = 8 + test_random(&random) % header_bytes, anywhere = test_random(&random) % length;
      switch (test_random(&random) % 6) {
        case 0:
          bad[anywhere] = (unsigned char)test_random(&random);
          break;
        case 1: /* another character of JSON in the header */
          bad[in_header % length] = (unsigned char)alphabet[test_random(&random) % (sizeof alphabet - 1)];
          break;
        case 2:
          length = anywhere + 1;
          break;
        case 3:
          memmove(bad + anywhere + 1, bad + anywhere, length - anywhere);
          length++;
          break;
        case 4:
          bad[test_random(&random) % 8 % length] = (unsigned char)test_random(&random);
          break;
        default:
          memcpy(bad + length, good, 64);
          length += 64;
          break;
      }
    }
    write_bytes(bad, length);
    dr_safetensors *file = NULL;
    const drover_status status = dr_safetensors_open(&file, path);
    if (status) {
      cr_assert_eq(status, DROVER_ERROR_FORMAT, "%s", drover_last_error());
      refused++;
      continue;
    }
    accepted++;
    volatile unsigned sum = 0;
    for (int32_t i = 0; i < dr_safetensors_count(file); i++) {
      const dr_tensor *tensor = dr_safetensors_at(file, i);
      size_t bytes = dr_dtype_bytes(tensor->dtype);
      for (int32_t j = 0; j < tensor->rank; j++) bytes *= (size_t)tensor->shape[j];
      for (size_t j = 0; j < bytes; j++) sum += ((const unsigned char *)tensor->data)[j];
    }
    dr_safetensors_close(file);
  }
  cr_assert_gt(refused, 3000);
  cr_assert_gt(accepted, 100);
}
