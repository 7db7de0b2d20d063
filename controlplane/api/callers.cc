#include "pharos/controlplane/api/callers.hh"

#include "pharos/config/scalars.hh"

#include <strings.h>

#include <sodium.h>

#include <algorithm>

namespace pharos::controlplane {
namespace {

constexpr std::size_t token_bytes = 32;
constexpr double burst_s = 2;

// A name that only this host can be meant by: a page from elsewhere that had its name resolved to loopback sends its
// own (DNS rebinding).
bool names_loopback(std::string_view host) {
  if (const auto colon = host.rfind(':'); colon != std::string_view::npos && !host.ends_with(']'))
    host = host.substr(0, colon);
  if (host == "localhost" || host == "[::1]") return true;
  const auto address = IpAddress::parse(host);  // "127.example.org" is a name like any other
  return address && config::is_loopback(*address);
}

}  // namespace

std::array<std::uint8_t, 32> hash_of_token(std::string_view token) {
  std::array<std::uint8_t, 32> hash{};
  crypto_generichash(hash.data(), hash.size(), reinterpret_cast<const unsigned char*>(token.data()),
                     token.size(), nullptr, 0);
  return hash;
}

std::string make_token() {
  std::array<unsigned char, token_bytes> secret{};
  randombytes_buf(secret.data(), secret.size());
  constexpr int variant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
  std::string text(sodium_base64_encoded_len(secret.size(), variant), '\0');
  sodium_bin2base64(text.data(), text.size(), secret.data(), secret.size(), variant);
  text.pop_back();  // its final zero
  return std::string(token_prefix) + text;
}

Result<Caller> Callers::identify(const HttpRequest& request) const {
  if (!request.certificate.empty()) {
    const auto at =
        std::ranges::find(config_.clients, request.certificate, &config::ApiClientConfig::name);
    if (at != config_.clients.end()) return Caller{"certificate " + at->name, at->role};
  }
  constexpr std::string_view scheme = "Bearer ";  // in any case: RFC 9110, 11.1
  if (::strncasecmp(request.authorization.c_str(), scheme.data(), scheme.size()) == 0) {
    const auto hash = hash_of_token(std::string_view(request.authorization).substr(scheme.size()));
    for (const auto& token : config_.tokens) {
      if (sodium_memcmp(hash.data(), token.hash.data(), hash.size()) == 0)
        return Caller{"token " + token.id, token.role};
    }
    return fail(ErrorCode::denied, "this token is not known here", "Authorization",
                "pharosctl token generate makes one");
  }
  if (config_.anonymous_read && names_loopback(request.host))
    return Caller{"anonymous", config::ApiRole::read, true};
  return fail(ErrorCode::denied, "who calls is not known", "Authorization",
              "send 'Authorization: Bearer TOKEN', or show a client certificate");
}

double Callers::full_tokens() const noexcept {
  return std::max(config_.requests_per_second * burst_s, 1.0);
}

// Null: too many strangers at once.
Callers::Bucket* Callers::bucket_of(const Caller* caller, const std::string& block, Instant now) {
  const double rate = config_.requests_per_second;
  const Bucket full{full_tokens(), now};
  if (caller != nullptr && !caller->stranger)
    return &known_.try_emplace(caller->name, full).first->second;
  if (strangers_.size() >= strangers_max && !strangers_.contains(block)) {
    // Those that are full again say nothing.
    std::erase_if(strangers_, [&](const auto& one) {
      return one.second.tokens + (now - one.second.at).seconds() * rate >= full.tokens;
    });
    if (strangers_.size() >= strangers_max) return nullptr;
  }
  return &strangers_.try_emplace(block, full).first->second;
}

double Callers::take(const Caller* caller, const std::string& block, Instant now) {
  const std::lock_guard lock(mutex_);
  const double rate = config_.requests_per_second;
  auto* found = bucket_of(caller, block, now);
  if (found == nullptr) return 1;
  auto& bucket = *found;
  bucket.tokens = std::min(full_tokens(), bucket.tokens + (now - bucket.at).seconds() * rate);
  bucket.at = now;
  if (bucket.tokens < 1) return (1 - bucket.tokens) / rate;
  bucket.tokens -= 1;
  return 0;
}

}  // namespace pharos::controlplane
