#include "runtime/native/engine.h"

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor_ptr.h>
#include <executorch/runtime/backend/interface.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <shared_mutex>

#include "runtime/native/errors.h"
#include "runtime/native/log-capture.h"
#include "runtime/native/processors.h"

// The wheel exports these but ships no header for them; EDGE_EXECUTORCH_VERSION pins what they are.
// (set_thread_num of thread_parallel_interface.h sets the index of the calling thread, not the
// number of threads.)
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  std::size_t get_thread_count() const;
  bool _unsafe_reset_threadpool(std::uint32_t new_thread_count);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

namespace edge {
namespace {

namespace et = executorch::extension;
namespace rt = executorch::runtime;
using executorch::aten::ScalarType;
using executorch::aten::SizesType;

constexpr int kMaxThreads = 256;
constexpr const char* kWhole = "forward";
constexpr const char* kStem = "stem";
constexpr const char* kTrunk = "trunk";

// Who may touch the thread pool: every run holds it shared, a change of its size alone.
struct Pool {
  std::shared_mutex mutex;
  std::mutex engines_mutex;
  std::vector<Engine*> engines;
  bool sized = false;  // somebody asked for a number of threads
};

Pool& ThePool() {
  static Pool* pool = new Pool;  // never destroyed: engines may outlive static storage
  return *pool;
}

Shape ToShape(rt::Span<const std::int32_t> sizes) { return Shape(sizes.begin(), sizes.end()); }

[[noreturn]] void Fail(const std::string& path, const char* what, rt::Error error,
                       const LogCapture& log) {
  throw ArtifactError(path + " does not " + what +
                      ": ExecuTorch " EDGE_EXECUTORCH_VERSION " says " + rt::to_string(error) +
                      log.Reason() + "; export it again with this version");
}

}  // namespace

Engine::Engine(const std::string& path, int num_threads, int stride, bool trace)
    : path_(path), trace_(trace) {
  if (num_threads < 0 || num_threads > kMaxThreads) {
    throw ConfigError("num_threads is " + std::to_string(num_threads) +
                      ", expected 1 to 256, or 0 for one thread per fast core");
  }
  if (stride < 0) {
    throw ConfigError("stride is " + std::to_string(stride) + " samples, expected 0 or more");
  }
  const auto start = std::chrono::steady_clock::now();
  if (num_threads == 0) num_threads = DefaultThreads();
  if (num_threads > 0 && num_threads != Engine::num_threads()) ResizePool(num_threads);
  {
    Pool& pool = ThePool();
    const std::shared_lock<std::shared_mutex> shared(pool.mutex);
    Open();
    ReadShapes();
    ReadSteps(stride);
    LoadMethods();
    const std::lock_guard<std::mutex> lock(pool.engines_mutex);
    pool.engines.push_back(this);
  }
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  load_ms_ = took.count();
}

Engine::~Engine() {
  Pool& pool = ThePool();
  const std::lock_guard<std::mutex> lock(pool.engines_mutex);
  pool.engines.erase(std::remove(pool.engines.begin(), pool.engines.end(), this),
                     pool.engines.end());
}

void Engine::ResizePool(int num_threads) {
  Pool& pool = ThePool();
  const std::unique_lock<std::shared_mutex> alone(pool.mutex);
  const std::lock_guard<std::mutex> lock(pool.engines_mutex);
  for (Engine* engine : pool.engines) engine->module_.reset();
  const LogCapture quiet;
  if (!et::threadpool::get_threadpool()->_unsafe_reset_threadpool(num_threads)) {
    throw ConfigError("this machine cannot start " + std::to_string(num_threads) + " threads");
  }
  pool.sized = true;
}

// The pool counts the machine's cores, whatever this process may use of them. Asked once: a size
// that somebody asked for stays.
int Engine::DefaultThreads() {
  static const int kFirst = [] {
    const int usable = UsableProcessors();
    return usable < Engine::num_threads() ? usable : 0;
  }();
  Pool& pool = ThePool();
  const std::lock_guard<std::mutex> lock(pool.engines_mutex);
  return pool.sized ? 0 : kFirst;
}

int Engine::num_threads() {
  const LogCapture quiet;  // the pool is made by the first question, and says how it counted cores
  return static_cast<int>(et::threadpool::get_threadpool()->get_thread_count());
}

void Engine::Open() {
  const LogCapture log;
  // Read rather than mapped: a file that is replaced while it runs must not change the program.
  auto tracer = trace_ ? std::make_unique<Tracer>() : nullptr;
  Tracer* const traced = tracer.get();
  auto module = std::make_unique<et::module::Module>(path_, et::module::Module::LoadMode::File,
                                                     std::move(tracer));
  const rt::Error error = module->load(rt::Program::Verification::InternalConsistency);
  if (error != rt::Error::Ok) Fail(path_, "load", error, log);
  module_ = std::move(module);
  tracer_ = traced;
}

void Engine::LoadMethods() {
  const std::vector<const char*> names =
      shares_steps() ? std::vector<const char*>{kStem, kTrunk} : std::vector<const char*>{kWhole};
  for (const char* name : names) {
    const LogCapture log;
    const rt::Error error = module_->load_method(name);
    if (error == rt::Error::Ok) continue;
    module_.reset();
    Fail(path_, "load", error, log);
  }
}

Engine::Signature Engine::ReadMethod(const char* name) const {
  const LogCapture log;
  const auto meta = module_->method_meta(name);
  if (!meta.ok()) Fail(path_, "load", meta.error(), log);
  const auto input = meta->num_inputs() == 1
                         ? meta->input_tensor_meta(0)
                         : rt::Result<rt::TensorInfo>(rt::Error::InvalidProgram);
  if (!input.ok() || input->scalar_type() != ScalarType::Float) {
    throw ArtifactError(path_ + " is a program of another kind: " + name + " takes " +
                        std::to_string(meta->num_inputs()) +
                        " inputs, expected one float32 tensor; choose a program of `edge export`");
  }
  Signature found{ToShape(input->sizes()), {}};
  for (std::size_t i = 0; i < meta->num_outputs(); ++i) {
    const auto output = meta->output_tensor_meta(i);
    if (!output.ok() || output->scalar_type() != ScalarType::Float) {
      throw ArtifactError(path_ + " is a program of another kind: output " + std::to_string(i) +
                          " of " + name +
                          " is not a float32 tensor; choose a program of `edge export`");
    }
    found.outputs.push_back(ToShape(output->sizes()));
  }
  return found;
}

void Engine::ReadShapes() {
  const Signature whole = ReadMethod(kWhole);
  input_shape_ = whole.input;
  output_shapes_ = whole.outputs;
}

void Engine::ReadSteps(int stride) {
  const auto names = module_->method_names();
  if (stride == 0 || !names.ok() || !names->count(kStem) || !names->count(kTrunk)) return;
  const Signature stem = ReadMethod(kStem);
  const Signature trunk = ReadMethod(kTrunk);
  const Shape& clip = input_shape_;
  const bool fits = clip.size() == 5 && stem.input.size() == 4 && trunk.input.size() == 4 &&
                    stem.outputs.size() == 1 && trunk.outputs == output_shapes_ &&
                    std::equal(clip.begin() + 2, clip.end(), stem.input.begin() + 1) &&
                    stem.input[0] * trunk.input[0] == clip[1] &&
                    ElementCount(stem.outputs[0]) * trunk.input[0] == ElementCount(trunk.input);
  if (!fits) {
    throw ArtifactError(path_ + " has a stem " + ShapeText(stem.input) + " and a trunk " +
                        ShapeText(trunk.input) + " that do not make up its clip " +
                        ShapeText(clip) + "; export it again");
  }
  const int samples = static_cast<int>(stem.input[0]);
  const int num_steps = static_cast<int>(trunk.input[0]);
  if (!StepCache::Pays(stride, samples, num_steps)) return;
  steps_ = std::make_unique<StepCache>(stem.input, trunk.input);
}

std::int64_t Engine::stem_runs() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return stem_runs_;
}

void Engine::Run(const float* input, const std::vector<float*>& outputs, std::int64_t first) {
  const std::shared_lock<std::shared_mutex> shared(ThePool().mutex);
  const std::lock_guard<std::mutex> lock(mutex_);
  if (module_ == nullptr) {  // the thread pool was changed since
    Open();
    LoadMethods();
  }
  last_runs_.clear();
  if (!shares_steps()) {
    RunMethod(kWhole, input_shape_, input, output_shapes_, outputs);
    return;
  }
  StepCache& steps = *steps_;
  for (int step = 0; step < steps.num_steps(); ++step) {
    const std::int64_t sample = first < 0 ? kUnknown : steps.SampleOf(first, step);
    if (steps.Take(step, sample)) continue;
    const float* samples = input + step * ElementCount(steps.stem_shape());
    RunMethod(kStem, steps.stem_shape(), samples, {steps.step_shape()}, {steps.gathered(step)});
    ++stem_runs_;
    steps.Keep(step, sample);
  }
  RunMethod(kTrunk, steps.trunk_shape(), steps.gathered(0), output_shapes_, outputs);
}

void Engine::RunMethod(const char* name, const Shape& shape, const float* input,
                       const std::vector<Shape>& output_shapes,
                       const std::vector<float*>& outputs) {
  const LogCapture log;
  if (tracer_ != nullptr) tracer_->Begin(name);
  const double start_s = SteadySeconds();
  const auto tensor = et::make_tensor_ptr(std::vector<SizesType>(shape.begin(), shape.end()),
                                          const_cast<float*>(input), ScalarType::Float);
  const auto results = module_->execute(name, tensor);
  if (!results.ok()) Fail(path_, "run", results.error(), log);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto& result = results->at(i).toTensor();
    if (result.numel() != ElementCount(output_shapes[i])) {
      throw ArtifactError(path_ + " gave " + std::to_string(result.numel()) + " values as output " +
                          std::to_string(i) + " of " + name + ", expected " +
                          ShapeText(output_shapes[i]));
    }
    std::memcpy(outputs[i], result.const_data_ptr(), result.numel() * sizeof(float));
  }
  last_runs_.push_back({name, start_s, SteadySeconds() - start_s});
}

std::vector<Engine::MethodRun> Engine::last_runs() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return last_runs_;
}

std::vector<TraceEvent> Engine::Trace() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return tracer_ == nullptr || module_ == nullptr ? std::vector<TraceEvent>() : tracer_->Take();
}

std::string ProgramText(const std::string& path, const char* name) {
  const LogCapture log;
  et::module::Module module(path, et::module::Module::LoadMode::File);
  const rt::Error error = module.load(rt::Program::Verification::InternalConsistency);
  if (error != rt::Error::Ok) Fail(path, "load", error, log);
  const auto names = module.method_names();
  if (!names.ok() || names->count(name) == 0) {
    throw ArtifactError(path +
                        " does not say what model it is; give the folder of its bundle, or " +
                        "export it again");
  }
  const auto results = module.execute(name);
  if (!results.ok()) Fail(path, "run", results.error(), log);
  if (results->size() != 1 || !results->at(0).isString()) {
    throw ArtifactError(path + " has a method " + name + " that gives no text; export it again");
  }
  return std::string(results->at(0).toString());
}

std::vector<std::string> RegisteredBackends() {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < rt::get_num_registered_backends(); ++i) {
    const auto name = rt::get_backend_name(i);
    if (name.ok()) names.emplace_back(*name);
  }
  return names;
}

}  // namespace edge
