// One ExecuTorch program, loaded and ready to run.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace executorch::extension::module {
class Module;
}

namespace edge {

using Shape = std::vector<std::int64_t>;

std::int64_t ElementCount(const Shape& shape);
std::string ShapeText(const Shape& shape);

// Takes one float32 input, gives float32 outputs, all of static shape.
//
// Thread safety: runs of one engine are serialised; different engines may run at the same time, but
// ExecuTorch has one thread pool per process, which they share. Asking for another number of
// threads therefore waits until no engine runs, and prepares every loaded engine anew: delegates
// keep a pointer to the pool they were prepared with. Engines loaded by other runtimes of the same
// process (executorch's Python package) cannot be reached so: do not change the number under them.
class Engine {
 public:
  // num_threads 0 leaves the pool as it is (at first: one thread per fast core).
  // Throws ArtifactError when the program does not load, ConfigError for a bad num_threads.
  explicit Engine(const std::string& path, int num_threads = 0);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // `outputs` holds one buffer per output, of output_shapes()[i] elements.
  // Throws ArtifactError when the program fails.
  void Run(const float* input, const std::vector<float*>& outputs);

  const Shape& input_shape() const { return input_shape_; }
  const std::vector<Shape>& output_shapes() const { return output_shapes_; }
  double load_ms() const { return load_ms_; }
  static int num_threads();

 private:
  static void ResizePool(int num_threads);
  void Load();
  void ReadShapes();

  std::string path_;
  std::mutex mutex_;
  std::unique_ptr<executorch::extension::module::Module> module_;
  Shape input_shape_;
  std::vector<Shape> output_shapes_;
  double load_ms_ = 0.0;
};

// Names of the delegates that are linked in.
std::vector<std::string> RegisteredBackends();

}  // namespace edge
