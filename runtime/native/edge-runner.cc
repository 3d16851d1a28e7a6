// edge_runner: the runtime without Python. Video or raw frames in, JSON Lines out.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <system_error>

#include "runtime/native/backend-library.h"
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

// A file that is read is never replaced, neither by the results nor by their name until they are
// whole.
void CheckOutput(const std::string& output, const std::string& read, const char* what) {
  if (output.empty()) return;
  std::error_code unknown;
  const std::string part = edge::ResultFile::PartName(output);
  if (std::filesystem::equivalent(output, read, unknown)) {
    throw edge::ConfigError("--save-json " + output + " is " + what + "; name another file");
  }
  if (std::filesystem::equivalent(part, read, unknown)) {
    throw edge::ConfigError("--save-json " + output + " is first written to " + part +
                            ", which is " + what + "; name another file");
  }
}

int Run(const edge::RunnerOptions& options) {
  if (!options.source.empty()) CheckOutput(options.save_json, options.source, "the source itself");
  const char* const named = std::getenv(edge::kBackendLibraryVariable);
  edge::LoadBackendLibraries(options.backend_library.value_or(named == nullptr ? "" : named));
  const edge::Bundle bundle = edge::Bundle::Load(options.model, options.device);
  for (const std::string& file : bundle.files) {
    CheckOutput(options.save_json, file, "a file of the bundle");
  }
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
  while (edge::Stopped() == 0 && reader->Read(&frame)) {
    if (!frame.note.empty()) std::cerr << "warning: " << frame.note << std::endl;
    file.Append(runner.Offer(frame));
  }
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
