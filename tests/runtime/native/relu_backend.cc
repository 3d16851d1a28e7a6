// A backend of ExecuTorch in a shared library of its own, as Vulkan's is: it computes ReLUs. It
// has Vulkan's name, which the runtime knows; test_runner_backends.py builds and loads it.
#include <executorch/runtime/backend/interface.h>

#include <algorithm>
#include <cstring>

namespace {

namespace rt = executorch::runtime;

class ReluBackend final : public rt::BackendInterface {
 public:
  bool is_available() const override { return true; }

  rt::Result<rt::DelegateHandle*> init(rt::BackendInitContext&, rt::FreeableBuffer* processed,
                                       rt::ArrayRef<rt::CompileSpec>) const override {
    const bool known = processed->size() == 4 && std::memcmp(processed->data(), "relu", 4) == 0;
    if (!known) return rt::Error::DelegateInvalidCompatibility;
    return static_cast<rt::DelegateHandle*>(nullptr);
  }

  rt::Error execute(rt::BackendExecutionContext&, rt::DelegateHandle*,
                    rt::Span<rt::EValue*> args) const override {
    const auto& input = args[0]->toTensor();
    const auto& output = args[args.size() - 1]->toTensor();
    const float* const values = input.const_data_ptr<float>();
    std::transform(values, values + input.numel(), output.mutable_data_ptr<float>(),
                   [](float value) { return std::max(value, 0.0F); });
    return rt::Error::Ok;
  }
};

ReluBackend backend;
[[maybe_unused]] const rt::Error registered = rt::register_backend({"VulkanBackend", &backend});

}  // namespace
