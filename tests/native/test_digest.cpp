#include <doctest/doctest.h>

#include "sip/digest.hpp"

// RFC 7616 §3.4, and the hashes of RFC 1321 and FIPS 180-4.

using namespace sipfarm::sip;

namespace {

template <std::size_t N>
std::string hex(const std::array<std::uint8_t, N>& bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const std::uint8_t byte : bytes) {
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return out;
}

const std::string mufasa =
    "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", algorithm=MD5, "
    "nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", "
    "qop=auth, response=\"8ca523f5e9506fed4657c9700eebdbec\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

}  // namespace

TEST_CASE("MD5 gives what RFC 1321 §A.5 lists") {
  CHECK(hex(md5("")) == "d41d8cd98f00b204e9800998ecf8427e");
  CHECK(hex(md5("abc")) == "900150983cd24fb0d6963f7d28e17f72");
  CHECK(hex(md5("12345678901234567890123456789012345678901234567890123456789012345678901234567890")) == "57edf4a22be3c955ac49da2e2107b67a");
}

TEST_CASE("SHA-256 gives what FIPS 180-4 lists") {
  CHECK(hex(sha256("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST_CASE("a response is that of RFC 7616 §3.9.1") {
  const auto credentials = parse_credentials(mufasa);
  REQUIRE(credentials);
  const std::string ha1 = hex(md5("Mufasa:http-auth@example.org:Circle of Life"));
  CHECK(digest_response(DigestAlgorithm::md5, ha1, "GET", *credentials) == credentials->response);
}

TEST_CASE("escapes are taken out of username and realm alone") {
  const auto credentials = parse_credentials(R"(digest	username="a\"b\\",realm="r\x",nonce="n\n",uri="u",response="r",)");
  REQUIRE(credentials);
  CHECK(credentials->username == "a\"b\\");
  CHECK(credentials->realm == "rx");
  CHECK(credentials->nonce == "n\\n");
}

TEST_CASE("what is malformed is no credentials") {
  for (const char* value : {
           "", "Digest", "Digest ", "Basic username=a", "Digest username=a,realm=b,nonce=c,uri=d", "Digest username=\"a",
           "Digest username=a,,realm=b,nonce=c,uri=d,response=e", "Digest username=a,realm=b,nonce=c,uri=d,response=e;x",
           "Digest username=a,realm=b,nonce=c,uri=d,response=e,Nonce=f", "Digest username=a,realm=b,nonce=c,uri=d,response=e,x=1,X=2",
           "Digest username=\"a\\", "Digest username=a realm=b,nonce=c,uri=d,response=e"}) {
    CAPTURE(value);
    CHECK_FALSE(parse_credentials(value));
  }
}

TEST_CASE("an overlong value is not read") {
  CHECK_FALSE(parse_credentials("Digest username=a,realm=b,nonce=c,uri=d,response=e,x=" + std::string(5'000, 'y')));
}
