// Headers of pictures in the packets of a stranger's video.
#include "runtime/native/picture-format.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (const auto format = edge::FindFormat(data, size)) {
    volatile std::size_t length = format->ToText().size();
    (void)length;
  }
  return 0;
}
