// Keeps what ExecuTorch logs while it does something for us, for the message of our own error.
#pragma once

#include <string>

namespace edge {

// While one lives, this thread's ExecuTorch errors are kept instead of printed; other threads'
// messages go where they went before.
class LogCapture {
 public:
  LogCapture();
  ~LogCapture();
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  // The first error, as " (why)", or nothing.
  std::string Reason() const;

 private:
  std::string text_;
  LogCapture* outer_;
  friend struct LogSink;
};

}  // namespace edge
