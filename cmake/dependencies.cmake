# dependencies.cmake: the packages Drover stands on, as imported targets; tools/deps installs them.
#   DROVER_LIBRARIES         what the library's files include and libdrover.so links
#   DROVER_LIBRARIES_STATIC  the same for libdrover.a: what its users' programs link
#   DROVER_LIBRARIES_TOOLS   what the command links besides
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(TBB 2021.8 REQUIRED COMPONENTS tbb) # TBB::tbb
find_package(PkgConfig REQUIRED)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(jansson REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(sleef REQUIRED IMPORTED_TARGET sleef)
include(onednn) # DNNL::dnnl, a static THREADPOOL build
include(mujoco) # drover_mujoco, unless DROVER_MUJOCO is off

set(common_libraries TBB::tbb PkgConfig::xxhash PkgConfig::jansson PkgConfig::sleef Threads::Threads ${CMAKE_DL_LIBS}
                     m)
set(DROVER_LIBRARIES DNNL::dnnl ${common_libraries} $<$<BOOL:${DROVER_MUJOCO}>:drover_mujoco>)

# An exported target must not carry this machine's path to oneDNN: users get the archive that is installed beside us.
set(DROVER_LIBRARIES_STATIC $<BUILD_INTERFACE:DNNL::dnnl> $<INSTALL_INTERFACE:drover::dnnl> ${common_libraries})
if(DROVER_MUJOCO)
  list(APPEND DROVER_LIBRARIES_STATIC $<BUILD_INTERFACE:drover_mujoco> $<INSTALL_INTERFACE:${DROVER_MUJOCO_LINK}>)
endif()

# jemalloc replaces malloc by being linked: no symbol of it is named, so the linker must be told to keep it. The
# sanitizers bring allocators of their own.
set(DROVER_LIBRARIES_TOOLS "")
if(DROVER_BUILD_TOOLS AND NOT DROVER_SANITIZE)
  pkg_check_modules(jemalloc REQUIRED IMPORTED_TARGET jemalloc)
  set(DROVER_LIBRARIES_TOOLS -Wl,--push-state,--no-as-needed PkgConfig::jemalloc -Wl,--pop-state)
endif()

if(DROVER_BUILD_TESTS)
  pkg_check_modules(criterion IMPORTED_TARGET criterion)
  if(NOT criterion_FOUND)
    message(FATAL_ERROR "Criterion is missing, which the tests need: tools/deps check installs it (Debian: "
                        "libcriterion-dev); or build without tests: -DDROVER_BUILD_TESTS=OFF")
  endif()
endif()
