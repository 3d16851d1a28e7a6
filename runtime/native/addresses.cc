#include "runtime/native/addresses.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <initializer_list>

namespace edge {
namespace {

constexpr const char* kHidden = "***";

// One character of an address, with the number of bytes that stand for it: three where `%3D` does.
struct Character {
  char value;
  std::size_t length;
};

Character CharacterAt(const std::string& text, std::size_t at) {
  const auto is_hex = [&](std::size_t i) {
    return i < text.size() && std::isxdigit(static_cast<unsigned char>(text[i])) != 0;
  };
  if (text[at] != '%' || !is_hex(at + 1) || !is_hex(at + 2)) return {text[at], 1};
  const std::string digits = text.substr(at + 1, 2);
  return {static_cast<char>(std::strtol(digits.c_str(), nullptr, 16)), 3};
}

// Of a name in lower case.
bool IsSecret(const std::string& name) {
  // Also within a longer word, as in `accesskey` or `X-Amz-Signature`.
  for (const char* word : {"pass", "pwd", "secret", "token", "key", "auth", "sig", "credential"}) {
    if (name.find(word) != std::string::npos) return true;
  }
  // Too short or too common for that: whole, or a part between other marks, as `_` and `-`.
  std::string part;
  const auto is_secret = [&] {
    for (const char* word : {"pas", "loginpas", "psw", "pw", "code", "accesscode", "session"}) {
      if (part == word) return true;
    }
    return false;
  };
  for (const unsigned char c : name) {
    if (std::isalnum(c) != 0) {
      part += static_cast<char>(c);
    } else {
      if (is_secret()) return true;
      part.clear();
    }
  }
  return is_secret();
}

// Hides the values of secret parameters. A name ends at `=` and begins behind any other mark, so
// that cameras' paths are seen as well: `/user=admin_password=x_channel=1`, hidden to its end.
std::string WithoutSecretValues(const std::string& text) {
  std::string shown;
  std::string name;
  bool hiding = false;
  for (std::size_t at = 0; at < text.size();) {
    const Character next = CharacterAt(text, at);
    if (next.value == '&' || next.value == ';') hiding = false;
    if (!hiding) shown += text.substr(at, next.length);
    at += next.length;
    if (hiding) continue;
    if (next.value == '=' && IsSecret(name)) {
      hiding = true;
      shown += kHidden;
    }
    const bool ends_name = std::string("?&;,/=#").find(next.value) != std::string::npos;
    if (ends_name) {
      name.clear();
    } else {
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(next.value)));
    }
  }
  return shown;
}

// Where an address begins behind its scheme: `rtsp://`, or `rtsp:/` as it is mistyped; else 0.
std::size_t BehindScheme(const std::string& address) {
  const std::size_t colon = address.find(":/");
  if (colon == std::string::npos || colon < 2) return 0;
  const bool is_scheme = std::all_of(address.begin(), address.begin() + colon, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '+' || c == '.' || c == '-';
  });
  if (!is_scheme) return 0;
  return address.compare(colon, 3, "://") == 0 ? colon + 3 : colon + 2;
}

}  // namespace

std::string Redact(const std::string& address) {
  const std::size_t start = BehindScheme(address);
  std::string rest = address.substr(start);
  const std::size_t at = rest.rfind('@');
  const std::size_t colon = rest.find(':');
  const bool has_user = at != std::string::npos;
  const bool has_password = has_user && colon < at;
  if (start == 0 && !has_password && rest.find('?') == std::string::npos) return address;
  if (has_password) {
    rest = rest.substr(0, colon) + ":" + kHidden + rest.substr(at);
  } else if (has_user && start > 0) {
    rest = kHidden + rest.substr(at);
  }
  return address.substr(0, start) + WithoutSecretValues(rest);
}

}  // namespace edge
