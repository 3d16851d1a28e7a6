# Find nlohmann/json, headers alone: the one that pip installed (nlohmann-json, a build requirement)
# or, where pip has none, the system's (Debian's nlohmann-json3-dev).

function(edge_define_json)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c
      "from importlib.util import find_spec; print(find_spec('nlohmann_json').submodule_search_locations[0])"
    OUTPUT_VARIABLE package OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  set(include "${package}/include")
  if(NOT EXISTS "${include}/nlohmann/json.hpp")
    # Of this machine also in a cross build: it is headers, not a library.
    find_path(include_found nlohmann/json.hpp NO_CMAKE_FIND_ROOT_PATH)
    set(include "${include_found}")
  endif()
  if(NOT EXISTS "${include}/nlohmann/json.hpp")
    message(FATAL_ERROR "nlohmann/json.hpp is missing: ${Python_EXECUTABLE} -m pip install "
                        "nlohmann-json, or apt-get install nlohmann-json3-dev.")
  endif()
  message(STATUS "JSON: ${include}")
  add_library(edge::json INTERFACE IMPORTED GLOBAL)
  target_include_directories(edge::json SYSTEM INTERFACE "${include}")
endfunction()
