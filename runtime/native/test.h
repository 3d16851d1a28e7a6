// A few lines of test framework: TEST(name) { EXPECT(...); }, all run by one program (test.cc).
#pragma once

#include <string>

namespace edge::test {

// Adds a test to those that test.cc runs.
struct Registered {
  Registered(const char* file, const char* name, void (*run)());
};

// Notes a failed expectation; the test goes on.
void Expect(bool holds, const char* what, const char* file, int line);

// What an error of the type says, or nothing where none is thrown.
template <typename Error, typename Call>
std::string ErrorOf(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline bool Says(const std::string& text, const char* words) {
  return text.find(words) != std::string::npos;
}

}  // namespace edge::test

#define EXPECT(condition) ::edge::test::Expect((condition), #condition, __FILE__, __LINE__)
#define TEST(name)                                                                 \
  static void name();                                                              \
  static const ::edge::test::Registered registered_##name(__FILE__, #name, &name); \
  static void name()
