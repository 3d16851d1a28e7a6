// Arrays from a NumPy archive (.npz), as far as a golden clip needs it: entries that are stored,
// not deflated, and arrays of bytes or of float32.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "runtime/native/shape.h"

namespace edge {

struct NpyArray {
  std::string dtype;  // "|u1" or "<f4"
  Shape shape;
  const char* data;  // inside the archive

  const std::uint8_t* Bytes() const { return reinterpret_cast<const std::uint8_t*>(data); }
};

class Npz {
 public:
  // Throws ArtifactError when the file is no such archive.
  explicit Npz(const std::string& path);
  Npz(const Npz&) = delete;
  Npz& operator=(const Npz&) = delete;

  // Whether an entry is deflated, which this reader leaves to others; no array can be asked for.
  bool compressed() const { return compressed_; }
  // Throws ArtifactError when it is absent or no array of `dtype` and `shape`.
  NpyArray At(const std::string& name, const std::string& dtype, const Shape& shape) const;

 private:
  struct Entry {
    std::size_t offset;
    std::size_t size;
  };

  void ReadDirectory();
  std::uint64_t Number(std::size_t offset, int bytes) const;
  void Require(bool fits) const;

  std::string path_;
  std::string content_;
  bool compressed_ = false;
  std::map<std::string, Entry> entries_;
};

}  // namespace edge
