#include "runtime/native/json.h"

#include "runtime/native/errors.h"
#include "runtime/native/test.h"

namespace {

using edge::CanonicalJson;
using edge::ParseJson;

// What Python's json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")) gives.
TEST(CanonicalTextIsThatOfPython) {
  EXPECT(CanonicalJson(ParseJson(R"({"b": [1, 2.50, true, null], "a": {}})")) ==
         R"({"a":{},"b":[1,2.5,true,null]})");
  EXPECT(CanonicalJson(ParseJson("[30.0, 29.97, 0.1, 1e-05, 0.0001, 1e15, 1e16, -0.0]")) ==
         "[30.0,29.97,0.1,1e-05,0.0001,1000000000000000.0,1e+16,-0.0]");
  EXPECT(CanonicalJson(ParseJson("[0.30000000000000004, 123456789.125, 1.7976931348623157e308]")) ==
         "[0.30000000000000004,123456789.125,1.7976931348623157e+308]");
  EXPECT(CanonicalJson(ParseJson(R"(["fall \u2603", "\ud83d\ude00", "\n\"\\", "\u007f"])")) ==
         R"(["fall \u2603","\ud83d\ude00","\n\"\\","\u007f"])");
}

TEST(TextThatIsNoJsonIsRefused) {
  for (const char* text : {"", "{", "[1,]", "{\"a\" 1}", "nul", "[1] 2", "\"\xff\""}) {
    const auto said = edge::test::ErrorOf<edge::ArtifactError>([&] { ParseJson(text); });
    EXPECT(edge::test::Says(said, "not valid JSON"));
  }
  const std::string deep(100000, '[');
  EXPECT(edge::test::Says(edge::test::ErrorOf<edge::ArtifactError>([&] { ParseJson(deep); }),
                          "nested too deeply"));
}

TEST(AQuoteKeepsOtherScripts) {
  EXPECT(edge::JsonQuote("fall \u2603 \"x\"\n") == "\"fall \u2603 \\\"x\\\"\\n\"");
}

}  // namespace
