#include "runtime/native/bundle.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "runtime/native/backend-library.h"
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

[[noreturn]] void Wrong(const std::string& key, const char* expected) {
  throw ArtifactError(key + " is not " + expected);
}

const Json& At(const Json& parent, const std::string& key) {
  if (!parent.is_object() || !parent.contains(key)) throw ArtifactError("'" + key + "' is missing");
  return parent.at(key);
}

const std::string& Text(const Json& parent, const std::string& key) {
  const Json& value = At(parent, key);
  if (!value.is_string()) Wrong(key, "a text");
  return value.get_ref<const std::string&>();
}

double Number(const Json& parent, const std::string& key) {
  const Json& value = At(parent, key);
  if (!value.is_number()) Wrong(key, "a number");
  return value.get<double>();
}

std::array<double, 3> Three(const Json& parent, const std::string& key) {
  const Json& value = At(parent, key);
  const auto is_number = [](const Json& item) { return item.is_number(); };
  if (!value.is_array() || value.size() != 3 ||
      !std::all_of(value.begin(), value.end(), is_number)) {
    Wrong(key, "three numbers");
  }
  return value.get<std::array<double, 3>>();
}

int Within(const Json& parent, const std::string& key, int low, int high) {
  const Json& value = At(parent, key);
  if (!value.is_number_integer()) Wrong(key, "a whole number");
  const auto number = value.get<std::int64_t>();
  if (number < low || number > high) {
    throw ArtifactError(key + " is " + value.dump() + ", not " + std::to_string(low) + ".." +
                        std::to_string(high));
  }
  return static_cast<int>(number);
}

void Require(const Json& parent, const std::string& key, const std::string& expected) {
  const std::string& value = Text(parent, key);
  if (value != expected) {
    throw ArtifactError(key + " is '" + value + "', this runtime does '" + expected + "'");
  }
}

int Rank(const std::string& precision) {
  static const std::vector<std::string> kOrder = {"int8", "fp16", "bf16", "fp32"};
  return static_cast<int>(std::find(kOrder.begin(), kOrder.end(), precision) - kOrder.begin());
}

// Targets whose programs are ExecuTorch's, the preferred one first (runtime/engines/__init__.py).
struct Target {
  const char* name;
  const char* device;
  const char* backend;
};
constexpr Target kTargets[] = {{"xnnpack", "cpu", "XnnpackBackend"},
                               {"vulkan", "vulkan", "VulkanBackend"}};

// Why programs of a target cannot run; empty where they can.
std::string Missing(const Target& target, const std::string& device) {
  if (device != "auto" && device != target.device) {
    return std::string("it runs on ") + target.device + ", not on " + device + " as asked";
  }
  const std::vector<std::string> found = RegisteredBackends();
  if (std::find(found.begin(), found.end(), target.backend) != found.end()) return "";
  return std::string("no ") + target.backend + " is loaded (--backend-library " +
         "libexecutorch_backend_" + target.name + ".so, or " + kBackendLibraryVariable + ")";
}

const Json& Choose(const Json& artifacts, const std::string& device) {
  std::string skipped;
  for (const Target& target : kTargets) {
    const std::string missing = Missing(target, device);
    const Json* best = nullptr;
    for (const Json& artifact : artifacts) {
      if (Text(artifact, "target") != target.name) continue;
      if (!missing.empty()) {
        skipped += "; " + Text(artifact, "file") + ": " + missing;
      } else if (best == nullptr ||
                 Rank(Text(artifact, "precision")) < Rank(Text(*best, "precision"))) {
        best = &artifact;
      }
    }
    if (best != nullptr) return *best;
  }
  if (skipped.empty()) {
    throw ArtifactError("it holds no program of ExecuTorch; make one with `edge export`");
  }
  throw ArtifactError("it holds no program that runs here" + skipped);
}

void CheckVersion(const Json& content) {
  const int version = Within(content, "schema_version", 0, 1 << 20);
  if (version != kSchemaVersion) {
    throw ArtifactError("it has schema " + std::to_string(version) + ", this runtime reads " +
                        std::to_string(kSchemaVersion) +
                        (version > kSchemaVersion ? "; update bmvit-edge" : "; export it again"));
  }
}

void CheckSeal(const Json& content) {
  Json plain = content;
  plain.erase("content_sha256");
  if (TextSha256(CanonicalJson(plain)) != Text(content, "content_sha256")) {
    throw ArtifactError("it was changed after export: its seal does not fit; export it again");
  }
}

// What bundle.json and a program's own facts have alike.
Bundle ReadModel(const Json& content) {
  CheckVersion(content);
  Bundle bundle;
  bundle.name = Text(content, "name");
  bundle.note = Text(content, "note");
  const Json& trained = At(content, "trained");
  if (!trained.is_boolean()) Wrong("trained", "true or false");
  bundle.trained = trained.get<bool>();
  for (const Json& name : At(content, "class_names")) {
    if (!name.is_string()) Wrong("class_names", "a list of texts");
    bundle.class_names.push_back(name.get<std::string>());
  }
  const Json& clip = At(content, "clip");
  bundle.num_frames = Within(clip, "num_frames", 1, 256);
  bundle.sampling_rate = Within(clip, "sampling_rate", 1, 256);
  bundle.fps = Number(clip, "fps");
  if (!(bundle.fps > 0 && bundle.fps <= 1000)) throw ArtifactError("fps is not in 0..1000");
  const Json& input = At(content, "input");
  bundle.height = Within(input, "height", 8, 4096);
  bundle.width = Within(input, "width", 8, 4096);
  bundle.mean = Three(input, "mean");
  bundle.std = Three(input, "std");
  Require(input, "layout", "ntchw");
  Require(input, "dtype", "float32");
  Require(input, "colour", "rgb");
  Require(input, "resize", "triangle-q14");
  bundle.num_tokens = Within(content, "num_tokens", 1, 1 << 20);
  return bundle;
}

void ReadArtifact(const Json& artifact, Bundle* bundle) {
  bundle->artifact = Text(artifact, "file");
  bundle->precision = Text(artifact, "precision");
  bundle->conf = Number(artifact, "conf");
  bundle->action_conf.assign(bundle->class_names.size(), kDefaultActionConf);
  bundle->own_action_confs = 0;
  // Bundles from before these were fitted lack the field.
  const Json own = artifact.value("action_thresholds", Json::object());
  for (std::size_t c = 0; c < bundle->class_names.size(); ++c) {
    if (!own.contains(bundle->class_names[c])) continue;
    const double conf = Number(own.at(bundle->class_names[c]), "conf");
    if (!(conf >= 0 && conf <= 1)) {
      throw ArtifactError("conf of '" + bundle->class_names[c] + "' is not 0..1");
    }
    bundle->action_conf[c] = conf;
    ++bundle->own_action_confs;
  }
}

Bundle ReadFolder(const Json& content, const std::string& folder, const std::string& device) {
  Bundle bundle = ReadModel(content);
  CheckSeal(content);
  const Json& artifact = Choose(At(content, "artifacts"), device);
  ReadArtifact(artifact, &bundle);
  const Json& tolerance = At(artifact, "self_test_tolerance");
  bundle.self_test_tolerance = {Number(tolerance, "pred_boxes"), Number(tolerance, "pred_actor"),
                                Number(tolerance, "pred_actions")};
  const Json& golden = At(content, "golden");
  for (const std::string& file : {bundle.artifact, Text(golden, "file")}) {
    if (file.find('/') != std::string::npos) {
      throw ArtifactError("file '" + file + "' is no plain name");
    }
  }
  bundle.golden_path = folder + "/" + Text(golden, "file");
  bundle.golden_sha256 = Text(golden, "sha256");
  bundle.path = folder + "/" + bundle.artifact;
  bundle.files = {folder + "/bundle.json", bundle.golden_path};
  for (const Json& other : At(content, "artifacts")) {
    bundle.files.push_back(folder + "/" + Text(other, "file"));
  }
  const std::string expected = Text(artifact, "sha256");
  const std::string found = FileSha256(bundle.path);
  if (found != expected) {
    throw ArtifactError(bundle.artifact + " has SHA-256 " + found.substr(0, 12) +
                        "..., the bundle says " + expected.substr(0, 12) +
                        "...: it is damaged or of another model; export or copy it again");
  }
  return bundle;
}

}  // namespace

Bundle Bundle::Load(const std::string& path, const std::string& device) {
  const bool alone = path.size() > 4 && path.compare(path.size() - 4, 4, ".pte") == 0;
  const std::string text =
      alone ? ProgramText(path, "bundle_json") : ReadFile(path + "/bundle.json");
  try {
    const Json content = ParseJson(text);
    if (!alone) return ReadFolder(content, path, device);
    Bundle bundle = ReadModel(content);
    const Json& artifact = At(content, "artifact");
    Choose(Json::array({artifact}), device);  // throws where it cannot run
    ReadArtifact(artifact, &bundle);
    bundle.path = path;
    bundle.files = {path};
    return bundle;
  } catch (const std::exception& error) {
    throw ArtifactError("bundle " + path + ": " + error.what());
  }
}

}  // namespace edge
