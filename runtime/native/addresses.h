// Addresses of sources as they may be shown: without their secrets, as in runtime/sources/names.py.
#pragma once

#include <string>

namespace edge {

// Hides what lies between `user:` and the last `@`, and the values of parameters that are secrets.
std::string Redact(const std::string& address);

}  // namespace edge
