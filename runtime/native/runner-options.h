// The flags of edge_runner, registered, validated and shown in one place.
#pragma once

#include <optional>
#include <string>

namespace edge {

struct RunnerOptions {
  std::string model;
  std::string source;
  std::optional<double> conf;         // none: the artifact's own
  std::optional<double> action_conf;  // none: the artifact's own for each class
  std::optional<int> stride;          // frames at the bundle's fps; none: two samples
  int threads = 0;
  std::string device = "auto";                 // or cpu, vulkan: which programs come into question
  std::optional<std::string> backend_library;  // divided by ':'; none: of the environment
  std::string save_json;                       // empty: stdout
  bool overwrite = false;                      // replace a file that save_json names
  bool help = false;
  // Raw BGR24 frames on stdin, instead of source; with raw_fps 0 each has its time before it.
  bool raw = false;
  int raw_width = 0;
  int raw_height = 0;
  double raw_fps = 0.0;

  // Throws ConfigError for an unknown flag, a bad value, or what does not go together.
  static RunnerOptions Parse(int argc, const char* const* argv);
  static const char* Usage();

 private:
  void Set(const std::string& flag, const std::string& value);
  void Validate() const;
};

}  // namespace edge
