#include "sip/digest.hpp"

#include "sip/text.hpp"

namespace sipfarm::sip {

namespace {

constexpr std::size_t value_bytes_max = 4'096;
constexpr std::size_t params_max = 32;
constexpr std::string_view scheme = "digest";

constexpr bool is_blank(char c) noexcept { return c == ' ' || c == '\t'; }

/// tchar (RFC 7230 §3.2.6).
constexpr bool is_name_char(char c) noexcept {
  if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')) return true;
  return std::string_view{"!#$%&'*+-.^_`|~"}.find(c) != std::string_view::npos;
}

/// What an unquoted value may hold: more than a token, since nonces are written without quotes now and then.
constexpr bool is_value_char(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return byte > ' ' && c != '"' && c != ',' && c != ';';
}

struct AuthParam {
  std::string_view name;
  std::string_view value;  // of a quoted-string what is between the quotes, escapes left
};

/// Cuts auth-params (RFC 7235 §2.1) off the front of a value.
class AuthParams {
 public:
  explicit AuthParams(std::string_view rest) noexcept : rest_{rest} {}

  bool at_end() const noexcept { return rest_.empty(); }

  /// False where what stands there is no auth-param.
  bool next(AuthParam& param) noexcept {
    skip_blanks();
    param.name = take_while(is_name_char);
    skip_blanks();
    if (param.name.empty() || !take('=')) return false;
    skip_blanks();
    if (take('"')) {
      if (!take_quoted(param.value)) return false;
    } else {
      param.value = take_while(is_value_char);
      if (param.value.empty()) return false;
    }
    skip_blanks();
    return at_end() || take(',');
  }

 private:
  void skip_blanks() noexcept { take_while(is_blank); }

  bool take(char wanted) noexcept {
    if (rest_.empty() || rest_.front() != wanted) return false;
    rest_.remove_prefix(1);
    return true;
  }

  template <typename Fits>
  std::string_view take_while(Fits fits) noexcept {
    std::size_t length = 0;
    while (length < rest_.size() && fits(rest_[length])) ++length;
    const std::string_view taken = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return taken;
  }

  bool take_quoted(std::string_view& inside) noexcept {
    std::size_t end = 0;
    while (end < rest_.size() && rest_[end] != '"') end += rest_[end] == '\\' ? 2 : 1;
    if (end >= rest_.size()) return false;
    inside = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return true;
  }

  std::string_view rest_;
};

std::string without_escapes(std::string_view text) {
  if (text.find('\\') == std::string_view::npos) return std::string{text};
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    out += text[i];
  }
  return out;
}

void append_hex(std::string& out, const std::uint8_t* bytes, std::size_t count) {
  constexpr char digits[] = "0123456789abcdef";
  for (std::size_t i = 0; i < count; ++i) {
    out += digits[bytes[i] >> 4];
    out += digits[bytes[i] & 15];
  }
}

void append_hash(std::string& out, DigestAlgorithm algorithm, std::string_view bytes) {
  if (algorithm == DigestAlgorithm::md5) {
    const auto hash = md5(bytes);
    append_hex(out, hash.data(), hash.size());
  } else {
    const auto hash = sha256(bytes);
    append_hex(out, hash.data(), hash.size());
  }
}

}  // namespace

bool is_digest(std::string_view value) noexcept {
  return value.size() > scheme.size() && text::iequals(value.substr(0, scheme.size()), scheme) && is_blank(value[scheme.size()]);
}

std::optional<Credentials> parse_credentials(std::string_view value) {
  if (value.size() > value_bytes_max || !is_digest(value)) return std::nullopt;
  constexpr std::array<std::string_view, 9> known = {"username", "realm", "nonce", "uri", "response", "algorithm", "cnonce", "qop", "nc"};
  std::array<std::string_view, known.size()> found{};
  unsigned seen = 0;
  std::array<std::string_view, params_max> others{};
  std::size_t others_count = 0;
  AuthParams params{value.substr(scheme.size() + 1)};
  bool any = false;
  for (AuthParam param; !params.at_end(); any = true) {
    if (!params.next(param)) return std::nullopt;
    std::size_t index = 0;
    while (index < known.size() && (param.name.size() != known[index].size() || !text::iequals(param.name, known[index]))) ++index;
    if (index < known.size()) {
      if ((seen >> index & 1U) != 0) return std::nullopt;
      seen |= 1U << index;
      found[index] = param.value;
      continue;
    }
    if (others_count == params_max) return std::nullopt;
    for (std::size_t i = 0; i < others_count; ++i) {
      if (text::iequals(others[i], param.name)) return std::nullopt;
    }
    others[others_count++] = param.name;
  }
  constexpr unsigned required = 0b11111;
  if (!any || (seen & required) != required) return std::nullopt;
  Credentials credentials;
  credentials.username = without_escapes(found[0]);
  credentials.realm = without_escapes(found[1]);
  credentials.nonce = found[2];
  credentials.uri = found[3];
  credentials.response = found[4];
  credentials.algorithm = found[5];
  credentials.cnonce = found[6];
  credentials.qop = found[7];
  credentials.nc = found[8];
  return credentials;
}

std::optional<DigestAlgorithm> digest_algorithm_of(std::string_view name) noexcept {
  if (name.empty() || text::iequals(name, "MD5")) return DigestAlgorithm::md5;
  if (text::iequals(name, "SHA-256")) return DigestAlgorithm::sha256;
  return std::nullopt;
}

std::string digest_response(DigestAlgorithm algorithm, std::string_view ha1, std::string_view method, const Credentials& credentials) {
  std::string a2{method};
  a2 += ':';
  a2 += credentials.uri;
  std::string proof{ha1};
  proof += ':';
  proof += credentials.nonce;
  if (!credentials.qop.empty()) {
    for (const std::string_view part : {credentials.nc, credentials.cnonce, credentials.qop}) {
      proof += ':';
      proof += part;
    }
  }
  proof += ':';
  append_hash(proof, algorithm, a2);
  std::string out;
  append_hash(out, algorithm, proof);
  return out;
}

}  // namespace sipfarm::sip
