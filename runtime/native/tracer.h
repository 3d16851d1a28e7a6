// What a program did and when: each method, instruction and delegated operator of a run.
#pragma once

#include <executorch/runtime/core/event_tracer.h>

#include <cstdint>
#include <string>
#include <vector>

namespace edge {

// Seconds on the steady clock, which is Python's time.perf_counter on Linux.
double SteadySeconds();

struct TraceEvent {
  std::string method;      // forward, stem, trunk
  std::string name;        // as ExecuTorch calls it
  bool delegated = false;  // inside a delegate: an operator of XNNPACK
  std::int64_t step = -1;  // number of the instruction; -1 for a whole method
  double start_s = 0.0;    // steady clock
  double duration_s = 0.0;
};

// ExecuTorch's event tracer that keeps events in memory, in the order in which they ended. What a
// delegate logs after the fact is laid one after the other behind its start: its timer gives
// durations only.
class Tracer final : public executorch::runtime::EventTracer {
 public:
  Tracer();

  // What follows belongs to this method.
  void Begin(const std::string& method) { method_ = method; }
  std::vector<TraceEvent> Take();

  void create_event_block(const char*) override {}
  executorch::runtime::EventTracerEntry start_profiling(
      const char* name, executorch::runtime::ChainID chain,
      executorch::runtime::DebugHandle handle) override;
  void end_profiling(executorch::runtime::EventTracerEntry entry) override;
  executorch::runtime::EventTracerEntry start_profiling_delegate(
      const char* name, executorch::runtime::DelegateDebugIntId index) override;
  void end_profiling_delegate(executorch::runtime::EventTracerEntry entry, const void*,
                              std::size_t) override;
  void log_profiling_delegate(const char* name, executorch::runtime::DelegateDebugIntId index,
                              et_timestamp_t start, et_timestamp_t end, const void*,
                              std::size_t) override;
  void track_allocation(executorch::runtime::AllocatorID, std::size_t) override {}
  executorch::runtime::AllocatorID track_allocator(const char*) override { return 0; }
  executorch::runtime::Result<bool> log_evalue(const executorch::runtime::EValue&,
                                               executorch::runtime::LoggedEValueType) override {
    return false;
  }
  void set_delegation_intermediate_output_filter(
      executorch::runtime::EventTracerFilterBase*) override {}
  executorch::runtime::Result<bool> log_intermediate_output_delegate(
      const char*, executorch::runtime::DelegateDebugIntId,
      const executorch::aten::Tensor&) override {
    return false;
  }
  executorch::runtime::Result<bool> log_intermediate_output_delegate(
      const char*, executorch::runtime::DelegateDebugIntId,
      const executorch::runtime::ArrayRef<executorch::aten::Tensor>) override {
    return false;
  }
  executorch::runtime::Result<bool> log_intermediate_output_delegate(
      const char*, executorch::runtime::DelegateDebugIntId, const int&) override {
    return false;
  }
  executorch::runtime::Result<bool> log_intermediate_output_delegate(
      const char*, executorch::runtime::DelegateDebugIntId, const bool&) override {
    return false;
  }
  executorch::runtime::Result<bool> log_intermediate_output_delegate(
      const char*, executorch::runtime::DelegateDebugIntId, const double&) override {
    return false;
  }

 private:
  executorch::runtime::EventTracerEntry Start(const char* name, bool delegated, std::int64_t step);
  void End(const executorch::runtime::EventTracerEntry& entry);

  std::string method_;
  std::vector<TraceEvent> open_;  // by event_id
  std::vector<TraceEvent> events_;
  double ticks_began_s_ = 0.0;  // the steady clock at the runtime's tick 0
  double tick_s_ = 0.0;
};

}  // namespace edge
