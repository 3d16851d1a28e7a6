#include "runtime/native/addresses.h"

#include "runtime/native/test.h"

namespace {

using edge::Redact;

TEST(SecretsOfAnAddressAreHidden) {
  EXPECT(Redact("rtsp://admin:pa#s3cret@h/x") == "rtsp://admin:***@h/x");
  EXPECT(Redact("rtsp://admin:a/b?c[@cam:554/s") == "rtsp://admin:***@cam:554/s");
  EXPECT(Redact("http://h/x?user=admin&password=s3cret&n=1") ==
         "http://h/x?user=admin&password=***&n=1");
  EXPECT(Redact("rtsp://cam.local/main") == "rtsp://cam.local/main");
  EXPECT(Redact("password=1.mp4") == "password=1.mp4");
}

// Those of tests/runtime/sources/test_names.py.
TEST(SecretsAreHiddenAsInPython) {
  EXPECT(Redact("rtsp://admin:[s3cret@h/x") == "rtsp://admin:***@h/x");
  EXPECT(Redact("rtsp://admin:a@s3cret@h/x") == "rtsp://admin:***@h/x");
  EXPECT(Redact("rtsp://admin:s3cret\"'<x@h/x") == "rtsp://admin:***@h/x");
  EXPECT(Redact("RTSP://me:s3cret@[::1]:554/1") == "RTSP://me:***@[::1]:554/1");
  EXPECT(Redact("csi://0?password=s3cret") == "csi://0?password=***");
  EXPECT(Redact("http://h/x?loginuse=a&loginpas=s3cret") == "http://h/x?loginuse=a&loginpas=***");
  EXPECT(Redact("http://h/x?encoder=2") == "http://h/x?encoder=2");
  EXPECT(Redact("http://h/x?a.code=s3cret&pas=s3cret") == "http://h/x?a.code=***&pas=***");
  EXPECT(Redact("C:/films/a.mp4") == "C:/films/a.mp4");
}

TEST(AUserWithoutAPasswordMayBeASecret) {
  EXPECT(Redact("rtsp://s3cret@host/x") == "rtsp://***@host/x");
  EXPECT(Redact("rtsp://s3/cret@host/x") == "rtsp://***@host/x");
  EXPECT(Redact("csi://s3cret@0") == "csi://***@0");
}

TEST(EveryNameOfASecretIsKnown) {
  for (const char* name : {"password",
                           "passwd",
                           "pass",
                           "pwd",
                           "psw",
                           "pw",
                           "loginpas",
                           "token",
                           "key",
                           "apikey",
                           "api_key",
                           "secret",
                           "auth",
                           "code",
                           "access_code",
                           "accesscode",
                           "sig",
                           "signature",
                           "session",
                           "PW",
                           "credential",
                           "credentials",
                           "X-Amz-Signature",
                           "user-pw",
                           "accessKey"}) {
    const std::string start = std::string("http://h/x?n=1&") + name + "=";
    EXPECT(Redact(start + "s3/cr,et?&m=2") == start + "***&m=2");
  }
  EXPECT(Redact("http://h/x?codec=h264&pwm=2") == "http://h/x?codec=h264&pwm=2");
}

TEST(PercentEncodingHidesNoSecret) {
  EXPECT(Redact("http://h/x?token%3Ds3cret") == "http://h/x?token%3D***");
  EXPECT(Redact("http://h/x?n=1%26token%3ds3cret%26m=2") == "http://h/x?n=1%26token%3d***%26m=2");
  EXPECT(Redact("http://h/x?pass%77ord=s3cret") == "http://h/x?pass%77ord=***");
  EXPECT(Redact("http://h/x?n=%zz%4") == "http://h/x?n=%zz%4");
}

TEST(SecretsInAPathAreHidden) {
  EXPECT(Redact("rtsp://h:554/user=admin_password=s3cret_channel=1") ==
         "rtsp://h:554/user=admin_password=***");
}

TEST(AnAddressThatIsMistypedShowsNoSecret) {
  EXPECT(Redact("rtsp:/admin:s3cret@h/x") == "rtsp:/admin:***@h/x");
  EXPECT(Redact("admin:s3cret@host/x") == "admin:***@host/x");
  EXPECT(Redact("host/x?token=s3cret") == "host/x?token=***");
  EXPECT(Redact("me@home.mp4") == "me@home.mp4");
  EXPECT(Redact("2026-11-28T12:30:00.mp4") == "2026-11-28T12:30:00.mp4");
}

}  // namespace
