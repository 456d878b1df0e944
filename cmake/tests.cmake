# tests.cmake: how a test program is made.
#
# Every test program links the static library, so internal symbols are within reach, and includes from the root of the
# repository ("runtime/shard.h"). Outer time limits are real ones: `timeout` ends the program's whole process group. They
# are there for what hangs: 600 s unless TIMEOUT says otherwise, as a machine may be busy enough to make a test of a
# second take a minute.
#
#   drover_add_test(NAME SOURCES file.c ... [LIBS target ...] [ARGS arg ...] [DEFINITIONS X=y ...] [TIMEOUT seconds]
#                   [SERIAL])
#     A Criterion program. Its tests run one after the other (-j1). It fails if a test fails, or if none ran.
#     SERIAL: nothing else may run beside it (timings).
#
#   drover_add_program_test(NAME SOURCES file.c ... [LIBS ...] [ARGS ...] [DEFINITIONS ...] [TIMEOUT seconds] [SERIAL])
#     A plain program that exits with 0 if all is well: for ThreadSanitizer, which Criterion's processes upset, and for
#     stress. These are the only ones that the tsan preset builds. SOURCES may be left out to run NAME, a program that
#     another call made, once more under the name given by `AS name`, with other ARGS.

# Where address randomisation is too strong for ThreadSanitizer (vm.mmap_rnd_bits = 32), setarch -R turns it off.
find_program(DROVER_SETARCH setarch)
set(test_launcher "")
if(DROVER_SANITIZE STREQUAL "thread" AND DROVER_SETARCH)
  execute_process(COMMAND ${DROVER_SETARCH} -R true RESULT_VARIABLE setarch_failed OUTPUT_QUIET ERROR_QUIET)
  if(NOT setarch_failed)
    set(test_launcher ${DROVER_SETARCH} -R)
  endif()
endif()

# What the sanitizers are told in every test; empty without them.
set(test_environment
    "ASAN_OPTIONS=strict_string_checks=1:detect_stack_use_after_return=1:check_initialization_order=1"
    "UBSAN_OPTIONS=print_stacktrace=1"
    "TSAN_OPTIONS=second_deadlock_stack=1:history_size=4")

function(_drover_test_program name)
  add_executable(${name} ${TEST_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE ${TEST_DEFINITIONS})
  target_link_libraries(${name} PRIVATE drover_options drover_static ${TEST_LIBS} m)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin/tests)
endfunction()

# `timeout` first; ctest's own limit is a little longer and only a second net.
function(_drover_test_entry name)
  if(NOT TEST_TIMEOUT)
    set(TEST_TIMEOUT 600)
  endif()
  math(EXPR outer "${TEST_TIMEOUT} + 30")
  add_test(NAME ${name} COMMAND timeout --kill-after=10 ${TEST_TIMEOUT} ${test_launcher} ${ARGN}
           WORKING_DIRECTORY ${PROJECT_BINARY_DIR})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${outer} ENVIRONMENT "${test_environment}"
                       RUN_SERIAL ${TEST_SERIAL})
endfunction()

function(drover_add_test name)
  cmake_parse_arguments(PARSE_ARGV 1 TEST "SERIAL" "TIMEOUT" "SOURCES;LIBS;ARGS;DEFINITIONS")
  if(DROVER_SANITIZE STREQUAL "thread")
    return()
  endif()
  # Criterion finds its tests in a section that nothing names: the linker must not drop it.
  list(APPEND TEST_LIBS PkgConfig::criterion -Wl,--no-gc-sections)
  _drover_test_program(${name})
  _drover_test_entry(${name} $<TARGET_FILE:${name}> -j1 ${TEST_ARGS})
  # Criterion exits with 0 when there was nothing to run.
  set_tests_properties(${name} PROPERTIES FAIL_REGULAR_EXPRESSION "Tested: 0 ")
endfunction()

function(drover_add_program_test name)
  cmake_parse_arguments(PARSE_ARGV 1 TEST "SERIAL" "TIMEOUT;AS" "SOURCES;LIBS;ARGS;DEFINITIONS")
  if(TEST_SOURCES)
    _drover_test_program(${name})
  endif()
  if(NOT TEST_AS)
    set(TEST_AS ${name})
  endif()
  _drover_test_entry(${TEST_AS} $<TARGET_FILE:${name}> ${TEST_ARGS})
  set_property(TEST ${TEST_AS} APPEND PROPERTY LABELS program)
endfunction()
