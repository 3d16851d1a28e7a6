// What a program alone (.pte) says of itself.
#include "runtime/native/bundle.h"
#include "runtime/native/errors.h"
#include "tools/fuzz/native/scratch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string path = edge::fuzz::Write("a.pte", data, size);
  try {
    edge::Bundle::Load(path);
  } catch (const edge::ArtifactError&) {
  } catch (const edge::ConfigError&) {
  }
  return 0;
}
