// The words of the configuration: durations, sizes, ratios, rates, addresses with ports, keys,
// names.
//
// Pure functions from text to value; each error says what is wrong and, as its hint, what would be
// right. `where` is left empty: the reader knows the line. Private to include/pharos/config, except
// where pharosctl and tests use them.
#pragma once

#include "pharos/config/model.hh"

#include <array>
#include <span>
#include <string>
#include <string_view>

namespace pharos::config {

// "200ms", "1s", "1m30s", "0"; units ns, us, ms, s, m, h, d.
[[nodiscard]] Result<Duration> parse_duration(std::string_view text);
[[nodiscard]] std::string duration_text(Duration value);

// "256MiB", "64KiB", "1MB", "512": bytes.
[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text);
[[nodiscard]] std::string size_text(std::uint64_t bytes);

// "50%" or "0.5": a share in [0, 1].
[[nodiscard]] Result<double> parse_ratio(std::string_view text);

// "10k", "2.5M", "500", "10k/s": a finite number >= 0.
[[nodiscard]] Result<double> parse_rate(std::string_view text);
[[nodiscard]] std::string rate_text(double value);

// A finite number in plain or exponent form.
[[nodiscard]] Result<double> parse_number(std::string_view text);
[[nodiscard]] std::string number_text(double value);

[[nodiscard]] Result<std::uint64_t> parse_unsigned(std::string_view text);
[[nodiscard]] Result<std::int64_t> parse_signed(std::string_view text);

// "192.0.2.1:5380" or "[2001:db8::1]:5380".
[[nodiscard]] Result<SocketAddress> parse_socket_address(std::string_view text);
// 127.0.0.0/8 and ::1: only this host reaches it.
[[nodiscard]] bool is_loopback(const IpAddress& address) noexcept;

// A secret of 16 or 32 bytes, all of `to`, as hexadecimal digits or in base64. Errors: invalid.
[[nodiscard]] Status parse_secret(std::string_view text, std::span<std::uint8_t> to);
[[nodiscard]] Result<std::array<std::uint8_t, 32>> parse_secret(std::string_view text);

// A domain name, folded to lower case, with its trailing dot: labels of 1-63 letters, digits, '-',
// '_' and '/', 255 bytes on the wire at most; "*" may stand alone as the first label where
// `wildcard`.
[[nodiscard]] Result<std::string> parse_domain_name(std::string_view text, bool wildcard);

// The nearest of `known` to a mistyped word, or empty where none is near.
[[nodiscard]] std::string nearest(std::string_view word, std::span<const std::string> known);

}  // namespace pharos::config
