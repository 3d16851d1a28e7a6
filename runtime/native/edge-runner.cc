// edge_runner: the runtime without Python. Video or raw frames in, JSON Lines out.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <system_error>

#include "runtime/native/bundle.h"
#include "runtime/native/errors.h"
#include "runtime/native/runner-options.h"
#include "runtime/native/runner.h"
#include "runtime/native/video.h"

namespace {

constexpr int kOk = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;

// An output may be new, or a device such as /dev/null; a file that is there is replaced only when
// that was asked for, and the video that is read never.
void CheckOutput(const edge::RunnerOptions& options) {
  namespace fs = std::filesystem;
  std::error_code unknown;
  if (!fs::is_regular_file(options.save_json, unknown)) return;
  if (!options.source.empty() && fs::equivalent(options.save_json, options.source, unknown)) {
    throw edge::ConfigError("--save-json " + options.save_json +
                            " is the source itself; name another file");
  }
  if (!options.overwrite) {
    throw edge::ConfigError(options.save_json +
                            " exists; add --overwrite to replace it, or name another file");
  }
}

void Run(const edge::RunnerOptions& options) {
  const edge::Bundle bundle = edge::Bundle::Load(options.model);
  edge::Runner runner(bundle, options);
  const std::unique_ptr<edge::FrameReader> reader =
      options.raw ? edge::OpenStdin(options.raw_width, options.raw_height, options.raw_fps)
                  : edge::OpenVideo(options.source, bundle.fps);
  std::ofstream file;
  if (!options.save_json.empty()) {
    CheckOutput(options);
    file.open(options.save_json, std::ios::trunc);
    if (!file) throw edge::ConfigError(options.save_json + " cannot be written");
  }
  std::ostream& out = options.save_json.empty() ? std::cout : file;
  std::cerr << runner.Describe() << std::endl;
  edge::TimedFrame frame;
  while (reader->Read(&frame)) {
    const std::string lines = runner.Offer(frame);
    if (lines.empty()) continue;
    out << lines << std::flush;
    if (!out) throw std::runtime_error("the results cannot be written: is the disk full?");
  }
  std::cerr << runner.Summary() << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  // Keep OpenCV's and FFmpeg's own lines off stderr, unless somebody asked for them.
  setenv("OPENCV_LOG_LEVEL", "OFF", 0);
  setenv("OPENCV_FFMPEG_LOGLEVEL", "-8", 0);
  try {
    const edge::RunnerOptions options = edge::RunnerOptions::Parse(argc, argv);
    if (options.help) {
      std::fputs(edge::RunnerOptions::Usage(), stdout);
      return kOk;
    }
    Run(options);
    return kOk;
  } catch (const edge::ConfigError& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return kUsage;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return kFailed;
  }
}
