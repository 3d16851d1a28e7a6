// bundle.json of a stranger.
#include "runtime/native/bundle.h"

#include "runtime/native/errors.h"
#include "tools/fuzz/native/scratch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  edge::fuzz::Write("bundle.json", data, size);
  try {
    edge::Bundle::Load(edge::fuzz::Folder());
  } catch (const edge::ArtifactError&) {
  } catch (const edge::ConfigError&) {
  }
  return 0;
}
