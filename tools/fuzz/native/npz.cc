// The golden clip of a stranger.
#include "runtime/native/npz.h"

#include "runtime/native/errors.h"
#include "tools/fuzz/native/scratch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string path = edge::fuzz::Write("golden.npz", data, size);
  try {
    const edge::Npz npz(path);
    if (npz.compressed()) return 0;
    const edge::NpyArray frames = npz.At("frames_rgb", "|u1", {2, 4, 4, 3});
    volatile std::uint8_t last = frames.Bytes()[2 * 4 * 4 * 3 - 1];
    (void)last;
    npz.At("a/pred_boxes", "<f4", {3, 4});
  } catch (const edge::ArtifactError&) {
  }
  return 0;
}
