# bgevl.pc for the build folder and for the installed library, the CMake package, and the install rules.
string(REPLACE ";" " " BGEVL_LIBS "${BGEVL_LINK_FLAGS}")

# For tools/static.sh and cgo: the library where it was built, the header where it is kept.
set(PC_PREFIX ${CMAKE_CURRENT_BINARY_DIR})
set(PC_LIBDIR ${CMAKE_CURRENT_BINARY_DIR})
set(PC_INCLUDEDIR ${CMAKE_CURRENT_SOURCE_DIR}/csrc)
configure_file(cmake/bgevl.pc.in ${CMAKE_CURRENT_BINARY_DIR}/bgevl.pc @ONLY)

# Installed: everything by its place beside bgevl.pc, so that the folder can be moved.
file(RELATIVE_PATH PC_PREFIX "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" PC_PREFIX "\${pcfiledir}/${PC_PREFIX}")
set(PC_LIBDIR "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
set(PC_INCLUDEDIR "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
configure_file(cmake/bgevl.pc.in ${CMAKE_CURRENT_BINARY_DIR}/install/bgevl.pc @ONLY)

include(CMakePackageConfigHelpers)
configure_package_config_file(cmake/BgevlConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/install/BgevlConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Bgevl
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/install/BgevlConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)

install(TARGETS bgevl ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES csrc/bge.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/install/bgevl.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/install/BgevlConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/install/BgevlConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Bgevl)
