# install.cmake: the package that others build on: headers, both libraries, the command, find_package(drover) and
# pkg-config. Everything in it is found relative to where it lies, so the tree can be moved.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/drover)
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

foreach(folder IN LISTS DROVER_PUBLIC_INCLUDES)
  install(DIRECTORY ${folder}/drover DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
endforeach()

# Two export sets: a user of the shared library needs none of the packages that the static one names.
install(TARGETS drover EXPORT drover-shared)
install(EXPORT drover-shared NAMESPACE drover:: FILE drover-shared-targets.cmake DESTINATION ${package_dir})
get_target_property(onednn_type DNNL::dnnl TYPE)
if(NOT onednn_type STREQUAL "SHARED_LIBRARY") # a shared one, given by -DDNNL_DIR, has no archive to go beside ours
  install(TARGETS drover_static EXPORT drover-static)
  install(EXPORT drover-static NAMESPACE drover:: FILE drover-static-targets.cmake DESTINATION ${package_dir})
  install(FILES $<TARGET_FILE:DNNL::dnnl> DESTINATION ${CMAKE_INSTALL_LIBDIR} RENAME libdrover_dnnl.a)
endif()
if(TARGET drover_command)
  install(TARGETS drover_command)
endif()

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/drover-config.cmake.in drover-config.cmake
                              INSTALL_DESTINATION ${package_dir} PATH_VARS CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(drover-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/drover-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/drover-config-version.cmake
        DESTINATION ${package_dir})

# drover.pc finds the prefix from its own place; what only a static link needs is private and named by -l alone.
file(RELATIVE_PATH DROVER_PC_PREFIX /prefix/${pkgconfig_dir} /prefix)
configure_file(${PROJECT_SOURCE_DIR}/cmake/drover.pc.in drover.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/drover.pc DESTINATION ${pkgconfig_dir})
