#include "pharos/dataplane/dns/cookie.hh"

#include <bit>
#include <cstring>

namespace pharos::dataplane {

namespace {

struct SipState {
  std::uint64_t v0, v1, v2, v3;

  void round() noexcept {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void absorb(std::uint64_t word) noexcept {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
};

constexpr unsigned client_cookie_bytes = 8;
constexpr unsigned prefix_bytes = 8;  // version, reserved, timestamp

// RFC 9018, 4.4: client cookie | version | reserved | timestamp | client address.
[[nodiscard]] std::uint64_t cookie_hash(const std::byte* client_cookie, const std::byte* prefix,
                                        const IpAddress& client,
                                        const CookieSecret& secret) noexcept {
  std::array<std::byte, client_cookie_bytes + prefix_bytes + 16> input;
  const auto address = client.wire();
  std::memcpy(input.data(), client_cookie, client_cookie_bytes);
  std::memcpy(input.data() + client_cookie_bytes, prefix, prefix_bytes);
  std::memcpy(input.data() + client_cookie_bytes + prefix_bytes, address.data(), address.size());
  return siphash_2_4(ConstBytes(input.data(), client_cookie_bytes + prefix_bytes + address.size()),
                     secret);
}

}  // namespace

std::uint64_t siphash_2_4(ConstBytes bytes, const CookieSecret& key) noexcept {
  const auto k0 = load<std::uint64_t>(key.data());
  const auto k1 = load<std::uint64_t>(key.data() + 8);
  SipState s{0x736f6d6570736575 ^ k0, 0x646f72616e646f6d ^ k1, 0x6c7967656e657261 ^ k0,
             0x7465646279746573 ^ k1};
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) s.absorb(load<std::uint64_t>(bytes.data() + at));
  std::uint64_t last = std::uint64_t{bytes.size()} << 56;
  for (unsigned i = 0; at + i < bytes.size(); ++i)
    last |= std::to_integer<std::uint64_t>(bytes[at + i]) << (8 * i);
  s.absorb(last);
  s.v2 ^= 0xff;
  for (int i = 0; i < 4; ++i) s.round();
  return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

ServerCookie make_server_cookie(const std::byte* client_cookie, const IpAddress& client,
                                std::uint32_t wall_s, const CookieSecret& secret) noexcept {
  ServerCookie cookie{};
  cookie[0] = std::byte{1};
  store(cookie.data() + 4, Be32(wall_s));
  store(cookie.data() + prefix_bytes, cookie_hash(client_cookie, cookie.data(), client, secret));
  return cookie;
}

CookieState check_server_cookie(ConstBytes server_cookie, const std::byte* client_cookie,
                                const IpAddress& client, std::uint32_t wall_s,
                                const CookieSecret& secret) noexcept {
  if (server_cookie.empty()) return CookieState::absent;
  if (server_cookie.size() != server_cookie_bytes || server_cookie[0] != std::byte{1})
    return CookieState::bad;
  // Serial arithmetic, so that the cookie outlives 2106 (RFC 9018, 4.3).
  const std::uint32_t age = wall_s - load<Be32>(server_cookie.data() + 4);
  const bool future = age > 0x7fffffff;
  if (future ? 0U - age > cookie_future_max_s : age > cookie_age_max_s) return CookieState::bad;
  const auto expected = cookie_hash(client_cookie, server_cookie.data(), client, secret);
  if (expected != load<std::uint64_t>(server_cookie.data() + prefix_bytes)) return CookieState::bad;
  return !future && age > cookie_renew_s ? CookieState::ageing : CookieState::good;
}

CookieState check_server_cookie_of_any(ConstBytes server_cookie, const std::byte* client_cookie,
                                       const IpAddress& client, std::uint32_t wall_s,
                                       std::span<const CookieSecret> secrets) noexcept {
  if (server_cookie.empty()) return CookieState::absent;
  for (const auto& secret : secrets) {
    const auto state = check_server_cookie(server_cookie, client_cookie, client, wall_s, secret);
    if (state != CookieState::bad) return &secret == secrets.data() ? state : CookieState::ageing;
  }
  return CookieState::bad;
}

}  // namespace pharos::dataplane
