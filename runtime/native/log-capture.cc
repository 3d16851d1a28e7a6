#include "runtime/native/log-capture.h"

#include <executorch/runtime/platform/platform.h>

#include <mutex>

namespace edge {
namespace {

namespace rt = executorch::runtime;

thread_local LogCapture* current = nullptr;
pal_emit_log_message_method previous = nullptr;

}  // namespace

struct LogSink {
  static void Emit(et_timestamp_t timestamp, et_pal_log_level_t level, const char* file,
                   const char* function, std::size_t line, const char* message,
                   std::size_t length) {
    if (current == nullptr || level == kFatal) {
      if (previous != nullptr) previous(timestamp, level, file, function, line, message, length);
    } else if (level == kError && current->text_.empty()) {
      current->text_.assign(message, length);
    }
  }
};

LogCapture::LogCapture() : outer_(current) {
  static std::once_flag once;
  std::call_once(once, [] {
    previous = rt::get_pal_impl()->emit_log_message;
    rt::register_pal(rt::PalImpl::create(&LogSink::Emit, __FILE__));
  });
  current = this;
}

LogCapture::~LogCapture() { current = outer_; }

std::string LogCapture::Reason() const { return text_.empty() ? "" : " (" + text_ + ")"; }

}  // namespace edge
