// runtime._native: NumPy arrays in, NumPy arrays out, the GIL released while it computes.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "runtime/native/clip-assembler.h"
#include "runtime/native/clip-buffer.h"
#include "runtime/native/decode.h"
#include "runtime/native/engine.h"
#include "runtime/native/errors.h"
#include "runtime/native/preprocess.h"
#include "runtime/native/processors.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using AnyArray = nb::ndarray<nb::ro, nb::device::cpu>;

// A new NumPy array that owns its memory; the elements are not set.
template <typename T>
nb::object NewArray(const edge::Shape& shape, T** data) {
  T* memory = new T[static_cast<std::size_t>(edge::ElementCount(shape))];
  const nb::capsule owner(memory, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  const std::vector<std::size_t> sizes(shape.begin(), shape.end());
  *data = memory;
  return nb::cast(nb::ndarray<nb::numpy, T>(memory, sizes.size(), sizes.data(), owner));
}

template <typename T>
nb::object CopyArray(const std::vector<T>& values, const edge::Shape& shape) {
  T* data = nullptr;
  nb::object array = NewArray<T>(shape, &data);
  std::copy(values.begin(), values.end(), data);
  return array;
}

edge::Shape ShapeOf(const AnyArray& array) {
  edge::Shape shape;
  for (std::size_t i = 0; i < array.ndim(); ++i) {
    shape.push_back(static_cast<std::int64_t>(array.shape(i)));
  }
  return shape;
}

std::string Describe(nb::handle value) {
  const nb::object type = nb::getattr(value.type(), "__name__");
  std::string text = nb::cast<std::string>(type);
  if (nb::hasattr(value, "dtype") && nb::hasattr(value, "shape")) {
    text += " of " + nb::cast<std::string>(nb::str(nb::getattr(value, "dtype"))) + " " +
            nb::cast<std::string>(nb::str(nb::getattr(value, "shape")));
  }
  return text;
}

AnyArray AsArray(nb::handle value, const std::string& expected) {
  AnyArray array;
  if (!nb::try_cast<AnyArray>(value, array)) {
    throw edge::ConfigError("got " + Describe(value) + ", expected " + expected);
  }
  return array;
}

bool IsContiguous(const AnyArray& array) {
  if (array.size() == 0) return true;
  std::int64_t step = 1;
  for (std::size_t i = array.ndim(); i-- > 0;) {
    if (array.shape(i) != 1 && array.stride(i) != step) return false;
    step *= static_cast<std::int64_t>(array.shape(i));
  }
  return true;
}

// A float32 C-contiguous array, borrowed.
const float* AsFloats(const AnyArray& array, nb::handle value, const std::string& expected) {
  if (array.dtype() != nb::dtype<float>() || !IsContiguous(array)) {
    throw edge::ConfigError("got " + Describe(value) + ", expected " + expected +
                            ", C-contiguous (np.ascontiguousarray helps)");
  }
  return static_cast<const float*>(array.data());
}

// Rows may lie any distance apart, so a crop of a frame needs no copy; pixels may not.
edge::Frame AsFrame(const AnyArray& array, nb::handle value) {
  const bool fits = array.dtype() == nb::dtype<std::uint8_t>() && array.ndim() == 3 &&
                    array.shape(2) == 3 && array.shape(0) > 0 && array.shape(1) > 0 &&
                    array.shape(0) <= 65536 && array.shape(1) <= 65536;
  if (!fits) {
    throw edge::ConfigError("got " + Describe(value) +
                            ", expected a frame: a uint8 array of (height, width, 3) in BGR, each "
                            "side 1 to 65536 pixels");
  }
  if (array.stride(2) != 1 || (array.shape(1) > 1 && array.stride(1) != 3)) {
    throw edge::ConfigError(
        "the pixels of a row of this frame do not lie side by side (a flipped or strided view); "
        "pass np.ascontiguousarray(frame)");
  }
  return {static_cast<const std::uint8_t*>(array.data()), static_cast<int>(array.shape(1)),
          static_cast<int>(array.shape(0)), array.stride(0)};
}

constexpr const char* kFrame = "a frame: a uint8 array of (height, width, 3) in BGR";

nb::object Preprocessed(const edge::Preprocess& self, nb::handle value) {
  const AnyArray array = AsArray(value, kFrame);
  const edge::Frame frame = AsFrame(array, value);
  float* data = nullptr;
  nb::object result = NewArray<float>({3, self.height(), self.width()}, &data);
  {
    const nb::gil_scoped_release release;
    self.Run(frame, data);
  }
  return result;
}

nb::object Resized(const edge::Preprocess& self, nb::handle value) {
  const AnyArray array = AsArray(value, kFrame);
  const edge::Frame frame = AsFrame(array, value);
  std::uint8_t* data = nullptr;
  nb::object result = NewArray<std::uint8_t>({self.height(), self.width(), 3}, &data);
  {
    const nb::gil_scoped_release release;
    self.ResizeOnly(frame, data);
  }
  return result;
}

void Push(edge::ClipBuffer& self, nb::handle value) {
  const AnyArray array = AsArray(value, kFrame);
  const edge::Frame frame = AsFrame(array, value);
  const nb::gil_scoped_release release;
  self.Push(frame);
}

void PushTimed(edge::ClipAssembler& self, nb::handle value, std::int64_t index, double t,
               const edge::Sample& sample) {
  const AnyArray array = AsArray(value, kFrame);
  const edge::Frame frame = AsFrame(array, value);
  const nb::gil_scoped_release release;
  self.Push(frame, index, t, sample);
}

std::pair<std::int64_t, double> OriginOf(const edge::ClipAssembler& self, std::size_t index) {
  const edge::ClipAssembler::Origin& origin = self.origins().at(index);
  return {origin.frame, origin.t};
}

// A read-only view of the ring; it keeps its owner alive.
nb::object ClipView(const edge::ClipBuffer& self, nb::handle owner) {
  const std::size_t shape[5] = {1, static_cast<std::size_t>(self.num_frames()), 3,
                                static_cast<std::size_t>(self.preprocess().height()),
                                static_cast<std::size_t>(self.preprocess().width())};
  return nb::cast(nb::ndarray<nb::numpy, const float>(self.clip(), 5, shape, owner));
}

nb::object RunEngine(edge::Engine& self, nb::handle value, std::int64_t first) {
  const std::string expected = "a clip: a float32 array of " + edge::ShapeText(self.input_shape());
  const AnyArray array = AsArray(value, expected);
  const float* input = AsFloats(array, value, expected);
  if (ShapeOf(array) != self.input_shape()) {
    throw edge::ConfigError("got " + Describe(value) + ", expected " + expected);
  }
  std::vector<float*> buffers;
  nb::list arrays;
  for (const edge::Shape& shape : self.output_shapes()) {
    float* data = nullptr;
    arrays.append(NewArray<float>(shape, &data));
    buffers.push_back(data);
  }
  {
    const nb::gil_scoped_release release;
    self.Run(input, buffers, first);
  }
  return nb::module_::import_("runtime.types").attr("Outputs")(*nb::tuple(arrays));
}

nb::list LastRuns(const edge::Engine& self) {
  nb::list runs;
  for (const edge::Engine::MethodRun& run : self.last_runs()) {
    runs.append(nb::make_tuple(run.method, run.start_s, run.duration_s));
  }
  return runs;
}

nb::list TakeTrace(edge::Engine& self) {
  nb::list events;
  for (const edge::TraceEvent& e : self.Trace()) {
    events.append(nb::make_tuple(e.method, e.name, e.delegated, e.step, e.start_s, e.duration_s));
  }
  return events;
}

nb::tuple DecodeArrays(nb::handle boxes, nb::handle actor, nb::handle actions, double conf,
                       int width, int height) {
  const AnyArray box_array = AsArray(boxes, "pred_boxes: a float32 array of (N, 4)");
  const AnyArray actor_array = AsArray(actor, "pred_actor: a float32 array of (N,)");
  const AnyArray action_array = AsArray(actions, "pred_actions: a float32 array of (N, C)");
  if (actor_array.ndim() != 1) {
    throw edge::ConfigError("got pred_actor as " + Describe(actor) + ", expected (N,) float32");
  }
  const auto tokens = static_cast<std::int64_t>(actor_array.shape(0));
  if (ShapeOf(box_array) != edge::Shape{tokens, 4}) {
    throw edge::ConfigError("got pred_boxes as " + Describe(boxes) + ", expected (" +
                            std::to_string(tokens) + ", 4) float32, one box per actor logit");
  }
  if (action_array.ndim() != 2 || static_cast<std::int64_t>(action_array.shape(0)) != tokens) {
    throw edge::ConfigError("got pred_actions as " + Describe(actions) + ", expected (" +
                            std::to_string(tokens) + ", C) float32, one row per actor logit");
  }
  const edge::Triplets triplets{AsFloats(box_array, boxes, "pred_boxes as float32"),
                                AsFloats(actor_array, actor, "pred_actor as float32"),
                                AsFloats(action_array, actions, "pred_actions as float32"), tokens,
                                static_cast<std::int64_t>(action_array.shape(1))};
  edge::Detections found;
  {
    const nb::gil_scoped_release release;
    found = edge::Decode(triplets, conf, width, height);
  }
  const auto count = static_cast<std::int64_t>(found.token.size());
  return nb::make_tuple(CopyArray(found.xyxy, {count, 4}), CopyArray(found.actor, {count}),
                        CopyArray(found.actions, {count, triplets.num_actions}),
                        CopyArray(found.token, {count}));
}

nb::dict Info() {
  nb::dict info;
  info["executorch_version"] = EDGE_EXECUTORCH_VERSION;
  info["backends"] = edge::RegisteredBackends();
  info["threads"] = edge::Engine::num_threads();
#if defined(__clang__)
  info["compiler"] = "clang " __clang_version__;
#else
  info["compiler"] = "gcc " __VERSION__;
#endif
  return info;
}

// The bytes of a path (str, bytes or os.PathLike): a name need not be text of any encoding.
std::string PathBytes(nb::handle path) {
  const nb::object encoded = nb::module_::import_("os").attr("fsencode")(path);
  const auto bytes = nb::cast<nb::bytes>(encoded);
  return {bytes.c_str(), bytes.size()};
}

void InitEngine(edge::Engine* self, nb::handle path, int num_threads, int stride, bool trace) {
  const std::string bytes = PathBytes(path);
  const nb::gil_scoped_release release;
  new (self) edge::Engine(bytes, num_threads, stride, trace);
}

nb::tuple ShapeTuple(const edge::Shape& shape) {
  nb::list sizes;
  for (const std::int64_t size : shape) sizes.append(size);
  return nb::tuple(sizes);
}

// Sets the Python class of runtime/errors.py that has the name of the C++ class.
void SetError(const char* name, const std::exception& error) {
  const nb::object type = nb::module_::import_("runtime.errors").attr(name);
  // What is no UTF-8, as the name of a file may be, becomes escapes.
  const std::string text = error.what();
  PyObject* const shown =
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "backslashreplace");
  if (shown != nullptr) PyErr_SetObject(type.ptr(), nb::steal(shown).ptr());
}

void Translate(const std::exception_ptr& pointer, void*) {
  try {
    std::rethrow_exception(pointer);
  } catch (const edge::ConfigError& error) {
    SetError("ConfigError", error);
  } catch (const edge::ArtifactError& error) {
    SetError("ArtifactError", error);
  } catch (const edge::DecodeError& error) {
    SetError("DecodeError", error);
  }
}

}  // namespace

NB_MODULE(_native, module) {
  module.doc() = "The native core of the runtime: engine, preprocess, clip buffer, decode.";
  nb::register_exception_translator(Translate);

  nb::class_<edge::Engine>(module, "Engine", "One ExecuTorch program, loaded and ready to run.")
      .def("__init__", &InitEngine, "path"_a, "num_threads"_a = 0, "stride"_a = 0,
           "trace"_a = false)
      .def("__call__", &RunEngine, "clips"_a.none(), "first"_a = edge::Engine::kUnknown,
           "Run one clip; returns `runtime.types.Outputs` of new arrays.")
      .def_prop_ro("shares_steps", &edge::Engine::shares_steps)
      .def_prop_ro("stem_runs", &edge::Engine::stem_runs)
      .def_prop_ro("input_shape", [](const edge::Engine& e) { return ShapeTuple(e.input_shape()); })
      .def_prop_ro("output_shapes",
                   [](const edge::Engine& e) {
                     nb::list shapes;
                     for (const edge::Shape& s : e.output_shapes()) shapes.append(ShapeTuple(s));
                     return nb::tuple(shapes);
                   })
      .def_prop_ro("num_threads", [](const edge::Engine&) { return edge::Engine::num_threads(); })
      .def_prop_ro("load_ms", &edge::Engine::load_ms)
      .def_prop_ro("last_runs", &LastRuns)
      .def("trace", &TakeTrace,
           "Return (method, name, delegated, step, start s, duration s) of each event since the "
           "last call.");

  nb::class_<edge::Preprocess>(module, "Preprocess", "Resize, BGR to RGB, normalise.")
      .def(nb::init<int, int, const std::array<double, 3>&, const std::array<double, 3>&, bool>(),
           "height"_a, "width"_a, "mean"_a, "std"_a, nb::kw_only(), "portable"_a = false)
      .def_prop_ro("kernels", &edge::Preprocess::kernels)
      .def("__call__", &Preprocessed, "frame"_a.none(), "Return (3, H, W) float32 RGB planes.")
      .def("resize", &Resized, "frame"_a.none(), "Return (H, W, 3) uint8, still BGR.");

  nb::class_<edge::ClipBuffer>(module, "ClipBuffer", "The last frames, preprocessed, as one clip.")
      .def(nb::init<std::shared_ptr<edge::Preprocess>, int>(), "preprocess"_a, "num_frames"_a)
      .def("push", &Push, "frame"_a.none(), "Preprocess a frame into the next slot.")
      .def("repeat", &edge::ClipBuffer::Repeat, "Take the newest sample once more.")
      .def("flush", &edge::ClipBuffer::Flush, "Forget all samples.")
      .def_prop_ro("full", &edge::ClipBuffer::full)
      .def_prop_ro("count", &edge::ClipBuffer::count)
      .def_prop_ro("first", &edge::ClipBuffer::first)
      .def(
          "clip",
          [](nb::handle_t<edge::ClipBuffer> self) {
            return ClipView(nb::cast<const edge::ClipBuffer&>(self), self);
          },
          "Return a read-only view (1, T, 3, H, W), oldest first; the next push changes it.");

  nb::class_<edge::Sample>(module, "Sample", "What one frame means for the clip.")
      .def_ro("repeats", &edge::Sample::repeats)
      .def_ro("takes", &edge::Sample::takes)
      .def_ro("filled", &edge::Sample::filled)
      .def_prop_ro("gap",
                   [](const edge::Sample& s) {
                     return s.gap.empty() ? std::optional<std::string>() : s.gap;
                   })
      .def_prop_ro("wanted", &edge::Sample::wanted);

  nb::class_<edge::Sampler>(module, "Sampler", "Chooses by time which frames a clip takes.")
      .def(nb::init<double, double, std::optional<double>>(), nb::kw_only(), "sampling_rate"_a,
           "fps"_a, "max_gap_s"_a = nb::none())
      .def("offer", &edge::Sampler::Offer, "t"_a, "Say what the next frame means for the clip.")
      .def("restart", &edge::Sampler::Restart, "Begin a new clip with the next frame.")
      .def_prop_ro("period_s", &edge::Sampler::period_s)
      .def_prop_ro("max_gap_s", &edge::Sampler::max_gap_s)
      .def_prop_ro("interval_s", &edge::Sampler::interval_s)
      .def_prop_ro("slow", &edge::Sampler::slow)
      .def_prop_ro("repeated", &edge::Sampler::repeated)
      .def_prop_ro("gaps", &edge::Sampler::gaps);

  nb::class_<edge::ClipAssembler>(module, "ClipAssembler", "From timed frames to clips.")
      .def(nb::init<std::shared_ptr<edge::Preprocess>, int, int>(), "preprocess"_a, "num_frames"_a,
           "stride"_a)
      .def("push", &PushTimed, "frame"_a.none(), "index"_a, "t"_a, "sample"_a,
           "Put a frame into the clip as often as its sample says.")
      .def("flush", &edge::ClipAssembler::Flush, "Empty the clip.")
      .def("decide", &edge::ClipAssembler::Decide,
           "Count a decision; return how many were due before it and are lost.")
      .def("origin", &OriginOf, "index"_a, "Return frame and time of a sample, oldest first.")
      .def_prop_ro("due", &edge::ClipAssembler::due)
      .def_prop_ro("full", &edge::ClipAssembler::full)
      .def_prop_ro("count", [](const edge::ClipAssembler& a) { return a.buffer().count(); })
      .def_prop_ro("first", [](const edge::ClipAssembler& a) { return a.buffer().first(); })
      .def(
          "clip",
          [](nb::handle_t<edge::ClipAssembler> self) {
            return ClipView(nb::cast<const edge::ClipAssembler&>(self).buffer(), self);
          },
          "Return a read-only view (1, T, 3, H, W), oldest first; the next push changes it.");

  module.def("decode", &DecodeArrays, "pred_boxes"_a.none(), "pred_actor"_a.none(),
             "pred_actions"_a.none(), "conf"_a, "width"_a, "height"_a,
             "Return (xyxy, actor, actions, token).");
  module.def(
      "usable_processors", [](nb::handle root) { return edge::UsableProcessors(PathBytes(root)); },
      "root"_a = "",
      "Return how many processors this process may use, by its affinity and control groups.");
  module.def("info", &Info, "Return versions, delegates and threads.");
}
