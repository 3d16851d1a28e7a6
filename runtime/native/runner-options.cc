#include "runtime/native/runner-options.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "runtime/native/errors.h"

namespace edge {
namespace {

double ToNumber(const std::string& flag, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !std::isfinite(value)) {
    throw ConfigError(flag + " is '" + text + "', expected a number");
  }
  return value;
}

int ToInteger(const std::string& flag, const std::string& text) {
  const double value = ToNumber(flag, text);
  if (value != std::floor(value) || std::abs(value) > 1e6) {
    throw ConfigError(flag + " is '" + text + "', expected a whole number");
  }
  return static_cast<int>(value);
}

double ToProbability(const std::string& flag, const std::string& text) {
  const double value = ToNumber(flag, text);
  if (value < 0 || value > 1) {
    throw ConfigError(flag + " is " + text + ", expected a probability between 0 and 1");
  }
  return value;
}

}  // namespace

const char* RunnerOptions::Usage() {
  return "usage: edge_runner --model BUNDLE (--source FILE | --raw WxH[@FPS]) [options]\n"
         "\n"
         "Detects people and their actions in a video, without Python. Results are JSON Lines.\n"
         "\n"
         "  --model BUNDLE      bundle folder, or one ExecuTorch program (.pte) of it\n"
         "  --source FILE       video file or stream (only where built with OpenCV)\n"
         "  --raw WxH@FPS       raw BGR24 frames on stdin, as in --raw 640x480@29.97; without\n"
         "                      @FPS each frame has its time in seconds, a double, before it\n"
         "  --conf X            threshold on p(actor), 0..1; default: the artifact's own\n"
         "  --action-conf X     threshold on each action's probability, 0..1; default: the\n"
         "                      artifact's own for each action, 0.5 where it has none\n"
         "  --stride N          frames between two decisions, at the bundle's fps; default: two\n"
         "                      samples of the clip\n"
         "  --threads N         threads of the engine; default 0: one per fast core\n"
         "  --device D          where to run: cpu, vulkan, or auto: the first for which the "
         "bundle\n"
         "                      has a program\n"
         "  --backend-library FILES\n"
         "                      backends of ExecuTorch (.so) to load beside the built-in one,\n"
         "                      divided by a colon; default: those of EDGE_BACKEND_LIBRARY\n"
         "  --save-json FILE    write the results to this file; default, and -: stdout\n"
         "  --overwrite         replace an existing file\n"
         "  --help              show this help\n";
}

RunnerOptions RunnerOptions::Parse(int argc, const char* const* argv) {
  RunnerOptions options;
  for (int i = 1; i < argc; ++i) {
    std::string flag = argv[i];
    if (flag == "--help" || flag == "-h") {
      options.help = true;
      return options;
    }
    if (flag == "--overwrite") {
      options.overwrite = true;
      continue;
    }
    std::string value;
    const std::size_t equals = flag.find('=');
    if (equals != std::string::npos) {
      value = flag.substr(equals + 1);
      flag.resize(equals);
    } else if (i + 1 < argc) {
      value = argv[++i];
    } else {
      throw ConfigError(flag + " needs a value, or is not known (try --help)");
    }
    options.Set(flag, value);
  }
  options.Validate();
  return options;
}

void RunnerOptions::Set(const std::string& flag, const std::string& value) {
  if (flag == "--model") {
    model = value;
  } else if (flag == "--source") {
    source = value;
  } else if (flag == "--conf") {
    conf = ToProbability(flag, value);
  } else if (flag == "--action-conf") {
    action_conf = ToProbability(flag, value);
  } else if (flag == "--stride") {
    stride = ToInteger(flag, value);
  } else if (flag == "--threads") {
    threads = ToInteger(flag, value);
  } else if (flag == "--device") {
    device = value;
  } else if (flag == "--backend-library") {
    backend_library = value;
  } else if (flag == "--save-json") {
    save_json = value == "-" ? "" : value;
  } else if (flag == "--raw") {
    char rest = '\0';
    raw = true;
    const char* const text = value.c_str();
    const bool timed = value.find('@') == std::string::npos;
    if (timed ? std::sscanf(text, "%dx%d%c", &raw_width, &raw_height, &rest) != 2
              : std::sscanf(text, "%dx%d@%lf%c", &raw_width, &raw_height, &raw_fps, &rest) != 3 ||
                    !(raw_fps > 0)) {
      throw ConfigError("--raw is '" + value + "', expected WIDTHxHEIGHT@FPS as in 640x480@30");
    }
  } else if (flag == "--iou" || flag == "--nms") {
    throw ConfigError("there is no NMS and so no IoU threshold; use --conf");
  } else {
    throw ConfigError("flag '" + flag + "' is not known (try --help)");
  }
}

void RunnerOptions::Validate() const {
  if (model.empty()) throw ConfigError("--model is missing: the folder of a bundle (try --help)");
  if (raw == !source.empty()) {
    throw ConfigError("give either --source or --raw (try --help)");
  }
  if (raw && (raw_width < 1 || raw_height < 1 || raw_width > 65536 || raw_height > 65536 ||
              !(raw_fps >= 0 && raw_fps <= 1000))) {
    throw ConfigError("--raw wants sides of 1 to 65536 pixels and a rate above 0, at most 1000");
  }
  if (stride && *stride < 1) throw ConfigError("--stride must be at least 1");
  if (device != "auto" && device != "cpu" && device != "vulkan") {
    throw ConfigError("--device is '" + device + "', expected auto, cpu or vulkan");
  }
  if (threads < 0 || threads > 256) throw ConfigError("--threads must be in 0..256");
}

}  // namespace edge
