#include "runtime/native/stopping.h"

#include <csignal>
#include <initializer_list>

namespace edge {
namespace {

volatile std::sig_atomic_t stopped = 0;

void OnSignal(int number) {
  if (stopped == 0) stopped = number;
}

}  // namespace

void CatchSignals() {
  // A limit on the size of files is an error of writing then.
  std::signal(SIGXFSZ, SIG_IGN);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    struct sigaction before{};
    if (sigaction(number, nullptr, &before) != 0 || before.sa_handler == SIG_IGN) continue;
    struct sigaction action{};
    action.sa_handler = OnSignal;
    action.sa_flags = static_cast<int>(SA_RESETHAND);  // and no SA_RESTART: a read must return
    sigaction(number, &action, nullptr);
  }
}

int Stopped() { return stopped; }

}  // namespace edge
