// Addresses of sources as they may be shown: without their secrets, as in runtime/secrets.py.
#pragma once

#include <string>

namespace edge {

// Hides who logs in (a user without a password, or the password behind `user:`), and the values of
// parameters whose names say that they are secret. Also without `://`, where `user:password@` or
// `?` shows that a name is an address; a name with neither stays as it is.
std::string Redact(const std::string& address);

}  // namespace edge
