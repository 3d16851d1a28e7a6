// Numbers as text.
#pragma once

#include <cstdio>
#include <string>

namespace edge {

// With so many digits behind the point.
inline std::string Fixed(double value, int digits) {
  char buffer[400];  // the largest double has 309 digits
  std::snprintf(buffer, sizeof(buffer), "%.*f", digits, value);
  return buffer;
}

}  // namespace edge
