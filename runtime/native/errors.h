// The C++ half of runtime/errors.py: module.cc turns each into the Python class of its name.
#pragma once

#include <stdexcept>

namespace edge {

// A value the caller gave cannot be used.
class ConfigError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A program or bundle is broken.
class ArtifactError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A source gives no frames.
class CaptureError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The engine's output is not a set of triplets.
class DecodeError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace edge
