// A file of a fuzzer's own, below the folder for temporary files.
#pragma once

#include <stdlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

namespace edge::fuzz {

inline std::string Folder() {
  static const std::string folder = [] {
    std::string name = (std::filesystem::temp_directory_path() / "edge-fuzz-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    return name;
  }();
  return folder;
}

// Writes the bytes; returns the path.
inline std::string Write(const char* name, const std::uint8_t* data, std::size_t size) {
  const std::string path = Folder() + "/" + name;
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  return path;
}

}  // namespace edge::fuzz
