#include "runtime/native/backend-library.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <system_error>
#include <vector>

#include "runtime/native/engine.h"
#include "runtime/native/errors.h"

namespace edge {
namespace {

// Returns the handle, which is kept until the program ends: its backend stays registered.
void* LoadBackendLibrary(const std::string& name, const std::vector<void*>& loaded) {
  std::error_code unknown;
  if (name.find('/') != std::string::npos && !std::filesystem::is_regular_file(name, unknown)) {
    throw ConfigError("there is no backend library " + name);
  }
  // A name in this folder is a file first, as it is in Python.
  const bool here = std::filesystem::is_regular_file(name, unknown);
  const std::string path = here ? std::filesystem::absolute(name, unknown).string() : name;
  const std::size_t before = RegisteredBackends().size();
  // Its symbols stay its own: two backends may hold the same library in two versions. It finds
  // this program's libexecutorch.so by the name that it was linked to.
  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    throw ConfigError("the backend library " + name + " does not load: " + dlerror() +
                      "; it must be built for ExecuTorch " EDGE_EXECUTORCH_VERSION
                      " and this processor, against its shared runtime");
  }
  const bool again = std::find(loaded.begin(), loaded.end(), handle) != loaded.end();
  if (!again && RegisteredBackends().size() == before) {
    throw ConfigError(name +
                      " loads, but registers no backend with this runtime; it must be linked to "
                      "libexecutorch.so, not hold a runtime of its own");
  }
  return handle;
}

}  // namespace

void LoadBackendLibraries(const std::string& names) {
  std::vector<void*> loaded;
  std::istringstream parts(names);
  for (std::string name; std::getline(parts, name, ':');) {
    if (!name.empty()) loaded.push_back(LoadBackendLibrary(name, loaded));
  }
}

}  // namespace edge
