# Find the C++ libraries of the ExecuTorch wheel, one exact version.
#
# Its installed form takes 740 MB with its dependencies; the wheel file alone (18 MB) is enough to
# build against. So, in this order: EDGE_EXECUTORCH_DIR; an installed executorch of the right
# version; the wheel file, fetched by pip without dependencies and unpacked under the build folder.
# In a cross build what is installed here is never the target's: its wheel is fetched.
#
# Sets EDGE_EXECUTORCH_ROOT (the folder that holds include/ and lib/).

set(EDGE_EXECUTORCH_DIR "$ENV{EDGE_EXECUTORCH_DIR}" CACHE PATH
    "Folder of an unpacked executorch wheel (holds include/ and lib/); empty: find or fetch it")

# Read the version that a package folder was built as; empty when it is not one.
function(edge_executorch_version folder output)
  set(found "")
  set(version_file "${folder}/lib/cmake/executorch/executorch-config-version.cmake")
  if(EXISTS "${version_file}")
    file(STRINGS "${version_file}" line REGEX "^set\\(PACKAGE_VERSION \"[0-9.]+\"\\)" LIMIT_COUNT 1)
    if(line MATCHES "\"([0-9.]+)\"")
      set(found "${CMAKE_MATCH_1}")
    endif()
  endif()
  set(${output} "${found}" PARENT_SCOPE)
endfunction()

# Refuse libraries of another processor, which a linker calls "in wrong format" or skips.
function(edge_check_processor library)
  file(READ "${library}" machine OFFSET 18 LIMIT 2 HEX)  # e_machine of the ELF header
  set(names "no known processor")
  if(machine STREQUAL "3e00")
    set(names x86_64 AMD64)
  elseif(machine STREQUAL "b700")
    set(names aarch64 arm64)
  endif()
  if(NOT CMAKE_SYSTEM_PROCESSOR IN_LIST names)
    list(JOIN names ", " names)
    message(FATAL_ERROR
      "${library} is for '${names}', this build is for ${CMAKE_SYSTEM_PROCESSOR}: point "
      "EDGE_EXECUTORCH_DIR at the wheel of that processor, or leave it empty to have it fetched.")
  endif()
endfunction()

function(edge_fetch_executorch version folder)
  message(STATUS "Fetching the executorch ${version} wheel (about 18 MB, no dependencies)")
  set(target "")
  if(CMAKE_CROSSCOMPILING)
    # The C++ libraries are the same in the wheels of all Pythons.
    set(target --python-version 3.11 --platform "manylinux_2_28_${CMAKE_SYSTEM_PROCESSOR}")
  endif()
  set(download "${folder}-download")
  file(REMOVE_RECURSE "${download}" "${folder}")
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -m pip download --quiet --disable-pip-version-check --no-deps
            --only-binary :all: ${target} --dest "${download}" "executorch==${version}"
    RESULT_VARIABLE failed ERROR_VARIABLE reason)
  file(GLOB wheels "${download}/*.whl")
  if(failed OR NOT wheels)
    message(FATAL_ERROR
      "pip could not fetch executorch==${version}: ${reason}\n"
      "Install it, or unpack its wheel and pass -DEDGE_EXECUTORCH_DIR=<folder>/executorch.")
  endif()
  file(ARCHIVE_EXTRACT INPUT "${wheels}" DESTINATION "${folder}"
       PATTERNS "executorch/include/*" "executorch/lib/*" "executorch/share/cmake/*"
                "executorch-*.dist-info/licenses/*")
  file(REMOVE_RECURSE "${download}")
endfunction()

function(edge_find_executorch version)
  if(EDGE_EXECUTORCH_DIR)
    set(root "${EDGE_EXECUTORCH_DIR}")
    if(EXISTS "${root}/executorch/lib")
      set(root "${root}/executorch")
    endif()
    edge_executorch_version("${root}" found)
    if(NOT found VERSION_EQUAL version)
      message(FATAL_ERROR
        "EDGE_EXECUTORCH_DIR=${EDGE_EXECUTORCH_DIR} holds executorch '${found}', expected "
        "${version}: programs and runtime must be of one version. Point it at that version, or "
        "leave it empty to have the wheel fetched.")
    endif()
  else()
    set(root "")
    if(NOT CMAKE_CROSSCOMPILING)
      execute_process(
        COMMAND "${Python_EXECUTABLE}" -c
                "from importlib.util import find_spec; s = find_spec('executorch'); \
print(next(iter(s.submodule_search_locations), '') if s else '')"
        OUTPUT_VARIABLE root OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    endif()
    edge_executorch_version("${root}" found)
    if(root AND NOT found VERSION_EQUAL version)
      message(WARNING
        "The installed executorch is '${found}', expected ${version}: fetching ${version} to build "
        "against. Do not load both in one process.")
    endif()
    if(NOT found VERSION_EQUAL version)
      set(root "${CMAKE_BINARY_DIR}/executorch-${version}/executorch")
      edge_executorch_version("${root}" found)
      if(NOT found VERSION_EQUAL version)
        edge_fetch_executorch("${version}" "${CMAKE_BINARY_DIR}/executorch-${version}")
      endif()
    endif()
  endif()
  file(REAL_PATH "${root}" root)
  set(EDGE_EXECUTORCH_ROOT "${root}" PARENT_SCOPE)
  message(STATUS "ExecuTorch ${version}: ${root}")
endfunction()

# Define edge::executorch: headers, and every library we load, by path. The wheel's own targets
# would record the absolute folder of the build machine in the RUNPATH of what we ship.
function(edge_define_executorch version)
  set(executorch_DIR "${EDGE_EXECUTORCH_ROOT}/lib/cmake/executorch")
  set(CMAKE_MESSAGE_LOG_LEVEL WARNING)
  find_package(executorch ${version} EXACT REQUIRED CONFIG NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH
               PATHS "${executorch_DIR}")
  set(libraries executorch executorch_threadpool executorch_kernels_optimized
                executorch_kernels_quantized executorch_backend_xnnpack)
  add_library(edge_executorch INTERFACE)
  add_library(edge::executorch ALIAS edge_executorch)
  target_include_directories(edge_executorch SYSTEM INTERFACE ${EXECUTORCH_INCLUDE_DIRS})
  target_compile_definitions(edge_executorch INTERFACE ${EXECUTORCH_COMPILE_DEFINITIONS})
  target_link_options(edge_executorch INTERFACE "LINKER:--enable-new-dtags")
  set(paths "")
  foreach(name IN LISTS libraries)
    set(path "${EDGE_EXECUTORCH_ROOT}/lib/lib${name}.so")
    if(NOT EXISTS "${path}")
      message(FATAL_ERROR "executorch ${version} at ${EDGE_EXECUTORCH_ROOT} lacks lib${name}.so")
    endif()
    edge_check_processor("${path}")
    list(APPEND paths "${path}")
    # Kernels and delegates register themselves when loaded and export nothing we call, so the
    # linker would drop them.
    target_link_options(edge_executorch INTERFACE
                        "LINKER:--push-state,--no-as-needed,${path},--pop-state")
  endforeach()
  # Whoever passes the libraries on must pass their licence on.
  file(GLOB licence "${EDGE_EXECUTORCH_ROOT}/../executorch-${version}*.dist-info/licenses/LICENSE")
  if(NOT licence)
    message(WARNING "No LICENSE of executorch beside ${EDGE_EXECUTORCH_ROOT}: do not pass the built "
                    "wheel on without it.")
  endif()
  set(EDGE_EXECUTORCH_LICENCE "${licence}" PARENT_SCOPE)
  set(EDGE_EXECUTORCH_LIBRARIES "${paths}" PARENT_SCOPE)
endfunction()
