// edge_runner: the runtime without Python. Video or raw frames in, JSON Lines out.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <system_error>

#include "runtime/native/bundle.h"
#include "runtime/native/errors.h"
#include "runtime/native/result-file.h"
#include "runtime/native/runner-options.h"
#include "runtime/native/runner.h"
#include "runtime/native/stopping.h"
#include "runtime/native/video.h"

namespace {

constexpr int kOk = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kInterrupted = 130;

// The video that is read is never replaced.
void CheckOutput(const edge::RunnerOptions& options) {
  std::error_code unknown;
  if (options.source.empty() || options.save_json.empty()) return;
  if (std::filesystem::equivalent(options.save_json, options.source, unknown)) {
    throw edge::ConfigError("--save-json " + options.save_json +
                            " is the source itself; name another file");
  }
}

int Run(const edge::RunnerOptions& options) {
  CheckOutput(options);
  const edge::Bundle bundle = edge::Bundle::Load(options.model);
  edge::Runner runner(bundle, options);
  const std::unique_ptr<edge::FrameReader> reader =
      options.raw ? edge::OpenStdin(options.raw_width, options.raw_height, options.raw_fps)
                  : edge::OpenVideo(options.source, bundle.fps);
  edge::ResultFile file(options.save_json, options.overwrite);
  if (!file.kept().empty()) {
    std::cerr << "warning: " << file.part() << " was left by a run that was cut off; it is now "
              << file.kept() << std::endl;
  }
  std::cerr << runner.Describe() << std::endl;
  edge::TimedFrame frame;
  while (edge::Stopped() == 0 && reader->Read(&frame)) file.Append(runner.Offer(frame));
  const std::string summary = runner.Summary(edge::Stopped() != 0);
  file.Publish();
  std::cerr << summary << std::endl;
  if (edge::Stopped() == 0) return kOk;
  // A service manager ends a run by SIGTERM, which is no failure.
  const bool normal = edge::Stopped() == SIGTERM;
  std::cerr << (normal ? "stopped by SIGTERM" : "interrupted") << std::endl;
  return normal ? kOk : kInterrupted;
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
    edge::CatchSignals();
    return Run(options);
  } catch (const edge::ConfigError& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return kUsage;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return kFailed;
  }
}
