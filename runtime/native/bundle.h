// What edge_runner reads of a bundle (runtime/bundle.py is the whole contract).
#pragma once

#include <array>
#include <string>
#include <vector>

namespace edge {

struct Bundle {
  std::string name;
  std::string note;
  bool trained;
  std::vector<std::string> class_names;
  int num_frames;
  int sampling_rate;
  double fps;
  int height;
  int width;
  std::array<double, 3> mean;
  std::array<double, 3> std;
  int num_tokens;
  // The artifact that was chosen: the fastest precision for XNNPACK, else for Vulkan.
  std::string artifact;
  std::string precision;
  std::string path;
  std::vector<std::string> files;  // all that belong to it
  double conf;
  std::vector<double> action_conf;            // from which probability on each class is named
  int own_action_confs;                       // how many of these are the artifact's own
  std::array<double, 3> self_test_tolerance;  // of boxes, actor, actions
  std::string golden_path;                    // empty for a program alone, which has no golden clip
  std::string golden_sha256;

  // Reads bundle.json in a folder, checks its seal and the artifact's SHA-256; or what a program
  // (.pte) says of itself. `device`: auto, cpu or vulkan, where the program is to run.
  // Throws ArtifactError, also where no backend for it is registered.
  static Bundle Load(const std::string& path, const std::string& device = "auto");
};

}  // namespace edge
