// Backends of ExecuTorch beside those that are linked in: shared libraries, loaded by name.
// runtime/backend_library.py is the same for Python.
#pragma once

#include <string>

namespace edge {

// Names the libraries where no flag does.
constexpr const char* kBackendLibraryVariable = "EDGE_BACKEND_LIBRARY";

// Loads libraries, divided by ':'; each registers its backend in the ExecuTorch that this program
// is linked to. It is code and runs as such. Throws ConfigError where one does not load, or
// registers no backend.
void LoadBackendLibraries(const std::string& names);

}  // namespace edge
