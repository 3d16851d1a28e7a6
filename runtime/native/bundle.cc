#include "runtime/native/bundle.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "runtime/native/engine.h"
#include "runtime/native/errors.h"
#include "runtime/native/json.h"
#include "runtime/native/sha256.h"

namespace edge {
namespace {

constexpr int kSchemaVersion = 1;
constexpr double kDefaultActionConf = 0.5;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw ArtifactError("no bundle at " + path +
                        ": --model wants the folder that `edge export` wrote");
  }
  return {std::istreambuf_iterator<char>(file), {}};
}

std::array<double, 3> Three(const Json& value) {
  const std::vector<Json>& items = value.Array();
  if (items.size() != 3) throw ArtifactError("mean and std need three numbers each");
  return {items[0].Number(), items[1].Number(), items[2].Number()};
}

int Within(const Json& parent, const std::string& key, int low, int high) {
  const int value = parent.At(key).Integer();
  if (value < low || value > high) {
    throw ArtifactError(key + " is " + std::to_string(value) + ", not " + std::to_string(low) +
                        ".." + std::to_string(high));
  }
  return value;
}

void Require(const Json& parent, const std::string& key, const std::string& expected) {
  const std::string& value = parent.At(key).String();
  if (value != expected) {
    throw ArtifactError(key + " is '" + value + "', this runtime does '" + expected + "'");
  }
}

int Rank(const std::string& precision) {
  static const std::vector<std::string> kOrder = {"int8", "fp16", "bf16", "fp32"};
  return static_cast<int>(std::find(kOrder.begin(), kOrder.end(), precision) - kOrder.begin());
}

const Json& Choose(const Json& artifacts) {
  const Json* best = nullptr;
  for (const Json& artifact : artifacts.Array()) {
    if (artifact.At("target").String() != "xnnpack") continue;
    if (best == nullptr ||
        Rank(artifact.At("precision").String()) < Rank(best->At("precision").String())) {
      best = &artifact;
    }
  }
  if (best == nullptr) {
    throw ArtifactError("it holds no program for xnnpack; export one with `edge export`");
  }
  return *best;
}

void CheckVersion(const Json& content) {
  const int version = content.At("schema_version").Integer();
  if (version != kSchemaVersion) {
    throw ArtifactError("it has schema " + std::to_string(version) + ", this runtime reads " +
                        std::to_string(kSchemaVersion) +
                        (version > kSchemaVersion ? "; update bmvit-edge" : "; export it again"));
  }
}

void CheckSeal(const Json& content) {
  if (TextSha256(content.Canonical("content_sha256")) != content.At("content_sha256").String()) {
    throw ArtifactError("it was changed after export: its seal does not fit; export it again");
  }
}

// What bundle.json and a program's own facts have alike.
Bundle ReadModel(const Json& content) {
  CheckVersion(content);
  Bundle bundle;
  bundle.name = content.At("name").String();
  bundle.note = content.At("note").String();
  bundle.trained = content.At("trained").Bool();
  for (const Json& name : content.At("class_names").Array()) {
    bundle.class_names.push_back(name.String());
  }
  const Json& clip = content.At("clip");
  bundle.num_frames = Within(clip, "num_frames", 1, 256);
  bundle.sampling_rate = Within(clip, "sampling_rate", 1, 256);
  bundle.fps = clip.At("fps").Number();
  if (!(bundle.fps > 0 && bundle.fps <= 1000)) throw ArtifactError("fps is not in 0..1000");
  const Json& input = content.At("input");
  bundle.height = Within(input, "height", 8, 4096);
  bundle.width = Within(input, "width", 8, 4096);
  bundle.mean = Three(input.At("mean"));
  bundle.std = Three(input.At("std"));
  Require(input, "layout", "ntchw");
  Require(input, "dtype", "float32");
  Require(input, "colour", "rgb");
  Require(input, "resize", "triangle-q14");
  bundle.num_tokens = Within(content, "num_tokens", 1, 1 << 20);
  return bundle;
}

void ReadArtifact(const Json& artifact, Bundle* bundle) {
  bundle->artifact = artifact.At("file").String();
  bundle->precision = artifact.At("precision").String();
  bundle->conf = artifact.At("conf").Number();
  bundle->action_conf.assign(bundle->class_names.size(), kDefaultActionConf);
  bundle->own_action_confs = 0;
  // Bundles from before these were fitted lack the field.
  const Json* own = artifact.Find("action_thresholds");
  for (std::size_t c = 0; own != nullptr && c < bundle->class_names.size(); ++c) {
    const Json* action = own->Find(bundle->class_names[c]);
    if (action == nullptr) continue;
    const double conf = action->At("conf").Number();
    if (!(conf >= 0 && conf <= 1)) {
      throw ArtifactError("conf of '" + bundle->class_names[c] + "' is not 0..1");
    }
    bundle->action_conf[c] = conf;
    ++bundle->own_action_confs;
  }
}

Bundle ReadFolder(const Json& content, const std::string& folder) {
  Bundle bundle = ReadModel(content);
  CheckSeal(content);
  const Json& artifact = Choose(content.At("artifacts"));
  ReadArtifact(artifact, &bundle);
  const Json& tolerance = artifact.At("self_test_tolerance");
  bundle.self_test_tolerance = {tolerance.At("pred_boxes").Number(),
                                tolerance.At("pred_actor").Number(),
                                tolerance.At("pred_actions").Number()};
  const Json& golden = content.At("golden");
  for (const std::string& file : {bundle.artifact, golden.At("file").String()}) {
    if (file.find('/') != std::string::npos) {
      throw ArtifactError("file '" + file + "' is no plain name");
    }
  }
  bundle.golden_path = folder + "/" + golden.At("file").String();
  bundle.golden_sha256 = golden.At("sha256").String();
  bundle.path = folder + "/" + bundle.artifact;
  const std::string expected = artifact.At("sha256").String();
  const std::string found = FileSha256(bundle.path);
  if (found != expected) {
    throw ArtifactError(bundle.artifact + " has SHA-256 " + found.substr(0, 12) +
                        "..., the bundle says " + expected.substr(0, 12) +
                        "...: it is damaged or of another model; export or copy it again");
  }
  return bundle;
}

}  // namespace

Bundle Bundle::Load(const std::string& path) {
  const bool alone = path.size() > 4 && path.compare(path.size() - 4, 4, ".pte") == 0;
  const std::string text =
      alone ? ProgramText(path, "bundle_json") : ReadFile(path + "/bundle.json");
  try {
    const Json content = Json::Parse(text);
    if (!alone) return ReadFolder(content, path);
    Bundle bundle = ReadModel(content);
    const Json& artifact = content.At("artifact");
    Require(artifact, "target", "xnnpack");
    ReadArtifact(artifact, &bundle);
    bundle.path = path;
    return bundle;
  } catch (const ArtifactError& error) {
    throw ArtifactError("bundle " + path + ": " + error.what());
  }
}

}  // namespace edge
