#include "runtime/native/self-test.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "runtime/native/errors.h"
#include "runtime/native/npz.h"
#include "runtime/native/preprocess.h"
#include "runtime/native/sha256.h"

namespace edge {
namespace {

constexpr const char* kOutputs[] = {"pred_boxes", "pred_actor", "pred_actions"};

std::string Short(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.3g", value);
  return text;
}

std::vector<float> ClipOf(const Bundle& bundle, const NpyArray& frames_rgb) {
  const Preprocess preprocess(bundle.height, bundle.width, bundle.mean, bundle.std);
  const std::size_t frame_size = preprocess.plane_count();
  std::vector<std::uint8_t> bgr(frame_size);
  std::vector<float> clip(frame_size * static_cast<std::size_t>(bundle.num_frames));
  for (int t = 0; t < bundle.num_frames; ++t) {
    const std::uint8_t* rgb = frames_rgb.Bytes() + frame_size * static_cast<std::size_t>(t);
    for (std::size_t i = 0; i < frame_size; i += 3) {
      bgr[i] = rgb[i + 2];
      bgr[i + 1] = rgb[i + 1];
      bgr[i + 2] = rgb[i];
    }
    const Frame frame{bgr.data(), bundle.width, bundle.height, 3 * bundle.width};
    preprocess.Run(frame, clip.data() + frame_size * static_cast<std::size_t>(t));
  }
  return clip;
}

// NaN where a value is not a number, so that no comparison takes it for small.
double LargestError(const std::vector<float>& found, const NpyArray& expected) {
  double worst = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    float wanted = 0.0F;
    std::memcpy(&wanted, expected.data + 4 * i, sizeof(wanted));
    const double error = std::abs(static_cast<double>(found[i]) - static_cast<double>(wanted));
    if (std::isnan(error)) return error;
    worst = std::max(worst, error);
  }
  return worst;
}

}  // namespace

std::optional<double> SelfTest(const Bundle& bundle, Engine* engine) {
  if (bundle.golden_path.empty()) return std::nullopt;
  if (FileSha256(bundle.golden_path) != bundle.golden_sha256) {
    throw ArtifactError(bundle.golden_path +
                        " is not the golden clip that the bundle describes; copy it again");
  }
  const Npz golden(bundle.golden_path);
  if (golden.compressed()) return std::nullopt;
  const NpyArray frames =
      golden.At("frames_rgb", "|u1", {bundle.num_frames, bundle.height, bundle.width, 3});
  const std::vector<float> clip = ClipOf(bundle, frames);
  std::vector<std::vector<float>> outputs;
  std::vector<float*> places;
  for (const Shape& shape : engine->output_shapes()) outputs.emplace_back(ElementCount(shape));
  for (std::vector<float>& output : outputs) places.push_back(output.data());
  engine->Run(clip.data(), places);
  const std::string stem = bundle.artifact.substr(0, bundle.artifact.rfind('.'));
  double share = 0.0;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    Shape shape = engine->output_shapes()[i];
    shape.erase(shape.begin());
    const std::string name = kOutputs[i];
    const double error = LargestError(outputs[i], golden.At(stem + "/" + name, "<f4", shape));
    const double allowed = bundle.self_test_tolerance[i];
    if (!(error <= allowed)) {  // not `>`: an error that is not a number must fail too
      throw ArtifactError("self-test of " + bundle.artifact + " failed: " + name +
                          " of the golden clip is off by " + Short(error) + ", " + Short(allowed) +
                          " is allowed; export it again on, or for, this kind of machine");
    }
    share = std::max(share, error / allowed);
  }
  return share;
}

}  // namespace edge
