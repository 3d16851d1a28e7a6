// One ExecuTorch program, loaded and ready to run.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/native/shape.h"
#include "runtime/native/step-cache.h"
#include "runtime/native/tracer.h"

namespace executorch::extension::module {
class Module;
}

namespace edge {

// Takes one float32 input, gives float32 outputs, all of static shape.
//
// A program may hold, beside `forward`, the same network cut in two: `stem`, which sees the frames
// of one step of time, and `trunk`, the rest. Of clips that overlap, an engine with a `stride` runs
// the stem for new steps only, and keeps the results of the others. The answers are the same.
//
// Thread safety: runs of one engine are serialised; different engines may run at the same time, but
// ExecuTorch has one thread pool per process, which they share. Asking for another number of
// threads therefore waits until no engine runs, and prepares every loaded engine anew: delegates
// keep a pointer to the pool they were prepared with. Engines loaded by other runtimes of the same
// process (executorch's Python package) cannot be reached so: do not change the number under them.
class Engine {
 public:
  // num_threads 0 leaves the pool as it is (at first: one thread per fast core, but no more than
  // this process may use).
  // stride: samples from one clip to the next, 0 for clips that have nothing to do with each other.
  // trace: keep what each run does and when, for Trace(); costs a little time.
  // Throws ArtifactError when the program does not load, ConfigError for a bad number.
  explicit Engine(const std::string& path, int num_threads = 0, int stride = 0, bool trace = false);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // `outputs` holds one buffer per output, of output_shapes()[i] elements. `first` is the serial
  // number of the clip's first sample, of ClipBuffer; kUnknown for a clip from elsewhere.
  // Throws ArtifactError when the program fails.
  void Run(const float* input, const std::vector<float*>& outputs, std::int64_t first = kUnknown);

  static constexpr std::int64_t kUnknown = -1;

  const Shape& input_shape() const { return input_shape_; }
  const std::vector<Shape>& output_shapes() const { return output_shapes_; }
  double load_ms() const { return load_ms_; }
  // Whether overlapping clips share their steps: the program can, and the stride lets them.
  bool shares_steps() const { return steps_ != nullptr; }
  // How often the stem has run.
  std::int64_t stem_runs() const;
  static int num_threads();

  struct MethodRun {
    const char* method;
    double start_s;  // steady clock
    double duration_s;
  };
  // The methods that the newest run called, in order.
  std::vector<MethodRun> last_runs() const;
  // Events since the last call; none of an engine that does not trace.
  std::vector<TraceEvent> Trace();

 private:
  struct Signature {
    Shape input;
    std::vector<Shape> outputs;
  };

  static int DefaultThreads();
  static void ResizePool(int num_threads);
  void Open();
  void LoadMethods();
  Signature ReadMethod(const char* name) const;
  void ReadShapes();
  void ReadSteps(int stride);
  void RunMethod(const char* name, const Shape& shape, const float* input,
                 const std::vector<Shape>& output_shapes, const std::vector<float*>& outputs);

  std::string path_;
  mutable std::mutex mutex_;
  std::unique_ptr<executorch::extension::module::Module> module_;
  Shape input_shape_;
  std::vector<Shape> output_shapes_;
  std::unique_ptr<StepCache> steps_;
  std::int64_t stem_runs_ = 0;
  std::vector<MethodRun> last_runs_;
  bool trace_ = false;
  Tracer* tracer_ = nullptr;  // of module_
  double load_ms_ = 0.0;
};

// What the method `name` of a program says, a text. Throws ArtifactError when it has no such
// method.
std::string ProgramText(const std::string& path, const char* name);

// Names of the delegates that are linked in.
std::vector<std::string> RegisteredBackends();

}  // namespace edge
