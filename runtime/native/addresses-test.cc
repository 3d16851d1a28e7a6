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

}  // namespace
