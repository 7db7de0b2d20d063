// Who calls the API, what they may do, and how often.
//
// Immutable but for the buckets of the rate limit, which have a lock of their own: any thread.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/config/model.hh"
#include "pharos/controlplane/api/http_door.hh"

#include <array>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace pharos::controlplane {

inline constexpr std::string_view token_prefix = "pharos_";
inline constexpr std::size_t strangers_max = 4096;  // whose rates are remembered

// BLAKE2b of a token's text. A token is 32 random bytes, so that a slow hash would only slow us down.
[[nodiscard]] std::array<std::uint8_t, 32> hash_of_token(std::string_view token);
// A fresh one: "pharos_" and 32 random bytes in base64.
[[nodiscard]] std::string make_token();

struct Caller {
  std::string name;  // "token grafana", "certificate ops.example.org", "anonymous"
  config::ApiRole role = config::ApiRole::read;
  bool stranger = false;  // nobody in particular: anonymous
};

class Callers {
 public:
  explicit Callers(const config::ApiConfig& config) : config_(config) {}

  // By client certificate, or else by bearer token, or else anonymous where that may be. Errors: denied.
  [[nodiscard]] Result<Caller> identify(const HttpRequest& request) const;
  // Takes one request from the bucket of `caller`, which strangers and those that nobody knows (null) share with their
  // block: seconds to wait, 0 where there is none. No flood of strangers takes anything from a caller that is known.
  [[nodiscard]] double take(const Caller* caller, const std::string& block, Instant now);

 private:
  struct Bucket {
    double tokens = 0;
    Instant at;
  };
  config::ApiConfig config_;
  [[nodiscard]] double full_tokens() const noexcept;
  [[nodiscard]] Bucket* bucket_of(const Caller* caller, const std::string& block, Instant now);

  std::mutex mutex_;                         // guards the two below
  std::map<std::string, Bucket> known_;      // by name: as many as are configured
  std::map<std::string, Bucket> strangers_;  // by block
};

}  // namespace pharos::controlplane
