#include "runtime/native/addresses.h"

#include <algorithm>
#include <cctype>
#include <initializer_list>

namespace edge {
namespace {

bool IsSecret(std::string key) {
  std::transform(key.begin(), key.end(), key.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* word : {"pass", "pwd", "secret", "token", "key", "auth", "sig", "credential"}) {
    if (key.find(word) != std::string::npos) return true;
  }
  return false;
}

// Hides the values of secret parameters, `key=value` between `?`, `&`, `;` and `,`.
std::string WithoutSecretValues(const std::string& text) {
  std::string shown;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find_first_of("?&;,", at), text.size());
    const std::string part = text.substr(at, end - at);
    const std::size_t equals = part.find('=');
    const bool secret = equals != std::string::npos && IsSecret(part.substr(0, equals));
    shown += secret ? part.substr(0, equals) + "=***" : part;
    if (end < text.size()) shown += text[end];
    at = end + 1;
  }
  return shown;
}

}  // namespace

std::string Redact(const std::string& address) {
  const std::size_t scheme = address.find("://");
  if (scheme == std::string::npos) return address;
  std::string rest = address.substr(scheme + 3);
  const std::size_t at = rest.rfind('@');
  if (at != std::string::npos) {
    const std::size_t colon = rest.find(':');
    const bool has_password = colon < at;
    if (has_password) {
      rest = rest.substr(0, colon) + ":***" + rest.substr(at);
    } else if (rest.find('/') < at) {
      rest = "***" + rest.substr(at);
    }
  }
  return address.substr(0, scheme + 3) + WithoutSecretValues(rest);
}

}  // namespace edge
