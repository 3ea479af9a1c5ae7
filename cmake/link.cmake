# What a program must link beside libbgevl.a, as flags in BGEVL_LINK_FLAGS. The same flags serve CMake's own tests,
# bgevl.pc (and so cgo, which takes -l, -L, -framework and -Wl,-rpath and not much else) and the CMake package.
set(BGEVL_LINK_FLAGS "")

# bgevl_link(WHAT...) adds libraries: a flag as it is, a library's file as -l, with -L where the linker does not look by
# itself and, for a shared one, with a path at which the program finds it when it runs.
function(bgevl_link)
  set(flags ${BGEVL_LINK_FLAGS})
  foreach(what IN LISTS ARGN)
    if(what MATCHES "^/.*/([^/]+)\\.framework$")
      list(APPEND flags "-framework ${CMAKE_MATCH_1}")
      continue()
    elseif(NOT IS_ABSOLUTE "${what}")
      list(APPEND flags ${what})
      continue()
    endif()
    get_filename_component(dir ${what} DIRECTORY)
    get_filename_component(name ${what} NAME)
    string(REGEX REPLACE "^lib(.*)\\.(a|so|dylib|tbd)[0-9.]*$" "\\1" name ${name})
    if(NOT dir IN_LIST CMAKE_C_IMPLICIT_LINK_DIRECTORIES)
      list(APPEND flags -L${dir})
      # A stub is there to link with and never to run with.
      if(what MATCHES "\\.so" AND NOT dir MATCHES "/stubs$")
        list(APPEND flags -Wl,-rpath,${dir})
      endif()
    endif()
    list(APPEND flags -l${name})
  endforeach()
  set(BGEVL_LINK_FLAGS ${flags} PARENT_SCOPE)
endfunction()
