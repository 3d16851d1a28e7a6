// SHA-256 (FIPS 180-4), so that a device without Python can check what it loads.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace edge {

class Sha256 {
 public:
  void Update(const void* data, std::size_t size);
  // 64 hexadecimal digits; call once, after the last Update.
  std::string HexDigest();

 private:
  void Block(const std::uint8_t* block);

  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, 64> buffer_ = {};
  std::uint64_t length_ = 0;
};

std::string TextSha256(const std::string& text);
// Throws ArtifactError when the file cannot be read.
std::string FileSha256(const std::string& path);

}  // namespace edge
