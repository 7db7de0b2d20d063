// SvcParams: the list of parameters behind the target of an SVCB or HTTPS record (RFC 9460, 2.2 and 7).
//
//   | key (2) | length (2) | value | key | length | value ...        keys ascend strictly
//
// Pure; any thread; not for the packet path. Configuration and zone loader judge by the same rules.
#pragma once

#include "pharos/base/bytes.hh"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pharos::dns {

namespace svc_param {
inline constexpr std::uint16_t mandatory = 0;
inline constexpr std::uint16_t alpn = 1;
inline constexpr std::uint16_t no_default_alpn = 2;
inline constexpr std::uint16_t port = 3;
inline constexpr std::uint16_t ipv4hint = 4;
inline constexpr std::uint16_t ech = 5;
inline constexpr std::uint16_t ipv6hint = 6;
inline constexpr std::uint16_t dohpath = 7;  // RFC 9461
inline constexpr std::uint16_t ohttp = 8;    // RFC 9540
inline constexpr std::uint16_t invalid = 65535;
}  // namespace svc_param

// Key to value in wire form.
using SvcParams = std::map<std::uint16_t, std::string>;

// "alpn", "key65280"; nothing for other words. Back: the name where there is one.
[[nodiscard]] std::optional<std::uint16_t> svc_param_of(std::string_view name) noexcept;
[[nodiscard]] std::string svc_param_name(std::uint16_t key);

// Values and keys are at most 65535 bytes.
[[nodiscard]] std::vector<std::byte> svc_params_wire(const SvcParams& params);

// What is wrong with a list in wire form, in words; empty where it is sound: whole, in order, each value of its key's
// form, every mandatory key there.
[[nodiscard]] std::string svc_params_fault(ConstBytes wire);

// Presentation form, each parameter behind a space: " alpn=h2,h3 port=8443". Of sound lists; others in hexadecimal.
[[nodiscard]] std::string svc_params_text(ConstBytes wire);

}  // namespace pharos::dns
