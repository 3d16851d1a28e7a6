// Runs every TEST that is linked in; exits 1 where one fails, or none is there.
#include "runtime/native/test.h"

#include <cstdio>
#include <exception>
#include <vector>

namespace edge::test {
namespace {

struct Case {
  const char* file;
  const char* name;
  void (*run)();
};

std::vector<Case>& Cases() {
  static std::vector<Case> cases;
  return cases;
}

int failures = 0;

}  // namespace

Registered::Registered(const char* file, const char* name, void (*run)()) {
  Cases().push_back({file, name, run});
}

void Expect(bool holds, const char* what, const char* file, int line) {
  if (holds) return;
  ++failures;
  std::fprintf(stderr, "%s:%d: expected %s\n", file, line, what);
}

int RunAll() {
  for (const Case& one : Cases()) {
    const int before = failures;
    try {
      one.run();
    } catch (const std::exception& error) {
      ++failures;
      std::fprintf(stderr, "%s: %s threw: %s\n", one.file, one.name, error.what());
    }
    std::printf("%s %s\n", failures == before ? "ok    " : "FAILED", one.name);
  }
  std::printf("%zu tests, %d failed expectations\n", Cases().size(), failures);
  return failures == 0 && !Cases().empty() ? 0 : 1;
}

}  // namespace edge::test

int main() { return edge::test::RunAll(); }
