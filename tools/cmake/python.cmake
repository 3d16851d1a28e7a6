# Find Python: an interpreter of this machine, for pip and nanobind, and headers of the target.
#
# They are two Pythons in a cross build, where FindPython would take what it learns of the
# interpreter for the target. A module needs only the target's headers (it does not link
# libpython), so these are enough, and say which version they are of:
# -DPython_INCLUDE_DIR=<sysroot>/usr/include/python3.x
#
# Sets EDGE_PYTHON_HEADERS, and in a cross build what nanobind reads of FindPython's answers.

function(edge_define_target_python)
  set(patchlevel "${Python_INCLUDE_DIR}/patchlevel.h")
  if(NOT EXISTS "${patchlevel}")
    message(FATAL_ERROR
      "Python_INCLUDE_DIR=${Python_INCLUDE_DIR} holds no patchlevel.h: point it at the target's "
      "include/python3.x, or leave it out and build with -DEDGE_PYTHON=OFF.")
  endif()
  file(STRINGS "${patchlevel}" line REGEX "^#define[ \t]+PY_VERSION[ \t]" LIMIT_COUNT 1)
  if(NOT line MATCHES "\"(3)\\.([0-9]+)\\." OR CMAKE_MATCH_2 LESS 10)
    message(FATAL_ERROR "${patchlevel} is not of Python 3.10 or newer: ${line}")
  endif()
  set(version "${CMAKE_MATCH_1}${CMAKE_MATCH_2}")
  message(STATUS "Python of the target: ${CMAKE_MATCH_1}.${CMAKE_MATCH_2}, ${Python_INCLUDE_DIR}")
  add_library(Python::Module INTERFACE IMPORTED GLOBAL)
  target_include_directories(Python::Module SYSTEM INTERFACE "${Python_INCLUDE_DIR}")
  set(Python_INCLUDE_DIRS "${Python_INCLUDE_DIR}" PARENT_SCOPE)
  # Debian's pyconfig.h includes that of the architecture from the folder above. Looked into last:
  # C headers that lie there must not come before the compiler's.
  file(REAL_PATH "${Python_INCLUDE_DIR}/.." above)
  add_compile_options("SHELL:-idirafter \"${above}\"")
  set(SKBUILD_SOABI "cpython-${version}-${CMAKE_SYSTEM_PROCESSOR}-linux-gnu" PARENT_SCOPE)
endfunction()

macro(edge_find_python)
  if(NOT CMAKE_CROSSCOMPILING)
    find_package(Python 3.10 REQUIRED COMPONENTS Interpreter OPTIONAL_COMPONENTS Development.Module)
    set(EDGE_PYTHON_HEADERS "${Python_Development.Module_FOUND}")
  else()
    find_package(Python 3.10 REQUIRED COMPONENTS Interpreter)
    set(EDGE_PYTHON_HEADERS FALSE)
    if(EDGE_PYTHON AND Python_INCLUDE_DIR)
      edge_define_target_python()
      set(EDGE_PYTHON_HEADERS TRUE)
    endif()
  endif()
endmacro()
