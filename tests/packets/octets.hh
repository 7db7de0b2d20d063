// Obvious, slow builders of DNS messages and frames: for packet tests, property tests, benchmarks and fuzz corpora.
//
// They share no code with the packet path, so that a mistake is not made twice.
#pragma once

#include "pharos/base/ip_address.hh"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pharos::packets {

using Octets = std::vector<std::byte>;

// Not inlined: of an empty vector, g++ 12 takes that for a read out of bounds.
[[gnu::noinline]] inline void put(Octets& out, const Octets& more) {
  out.insert(out.end(), more.begin(), more.end());
}
inline void put8(Octets& out, unsigned value) {
  out.push_back(static_cast<std::byte>(value));
}
inline void put16(Octets& out, unsigned value) {
  put8(out, value >> 8 & 0xff);
  put8(out, value & 0xff);
}
inline void put32(Octets& out, std::uint32_t value) {
  put16(out, value >> 16);
  put16(out, value & 0xffff);
}

// Bytes from hexadecimal digits; spaces are skipped.
inline Octets hex(std::string_view text) {
  Octets out;
  int high = -1;
  for (const char c : text) {
    if (c == ' ' || c == '\n') continue;
    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    if (high < 0) {
      high = digit;
    } else {
      put8(out, static_cast<unsigned>(high * 16 + digit));
      high = -1;
    }
  }
  return out;
}

inline std::string hex_text(const Octets& bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const auto b : bytes) {
    text += digits[std::to_integer<unsigned>(b) >> 4];
    text += digits[std::to_integer<unsigned>(b) & 15];
  }
  return text;
}

// The wire form of a dotted name without escapes; "" and "." are the root.
inline Octets name(std::string_view dotted) {
  Octets out;
  while (!dotted.empty() && dotted != ".") {
    const auto dot = dotted.find('.');
    const auto label = dotted.substr(0, dot);
    put8(out, static_cast<unsigned>(label.size()));
    for (const char c : label) put8(out, static_cast<unsigned char>(c));
    dotted = dot == std::string_view::npos ? std::string_view{} : dotted.substr(dot + 1);
  }
  put8(out, 0);
  return out;
}

struct Edns {
  std::uint16_t payload = 1232;
  std::uint8_t extended_rcode = 0;
  std::uint8_t version = 0;
  bool dnssec_ok = false;
  Octets options = {};
};

inline void put_opt(Octets& out, const Edns& edns) {
  put8(out, 0);
  put16(out, 41);
  put16(out, edns.payload);
  put8(out, edns.extended_rcode);
  put8(out, edns.version);
  put16(out, edns.dnssec_ok ? 0x8000 : 0);
  put16(out, static_cast<unsigned>(edns.options.size()));
  put(out, edns.options);
}

inline Octets option(unsigned code, const Octets& content) {
  Octets out;
  put16(out, code);
  put16(out, static_cast<unsigned>(content.size()));
  put(out, content);
  return out;
}

struct Question {
  std::string name = {};
  std::uint16_t type = 1;
  std::uint16_t klass = 1;
  std::uint16_t id = 0x1234;
  std::uint16_t flags = 0x0100;  // RD
};

inline Octets header(std::uint16_t id, unsigned flags, std::array<unsigned, 4> counts) {
  Octets out;
  put16(out, id);
  put16(out, flags);
  for (const unsigned count : counts) put16(out, count);
  return out;
}

inline Octets query(const Question& question) {
  Octets out = header(question.id, question.flags, {1, 0, 0, 0});
  put(out, name(question.name));
  put16(out, question.type);
  put16(out, question.klass);
  return out;
}
inline Octets query(const Question& question, const Edns& edns) {
  Octets out = query(question);
  out[11] = std::byte{1};
  put_opt(out, edns);
  return out;
}

// RFC 1071, word by word in network order.
inline unsigned internet_sum(const Octets& bytes, unsigned sum = 0) {
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    sum += std::to_integer<unsigned>(bytes[i]) << 8;
    if (i + 1 < bytes.size()) sum += std::to_integer<unsigned>(bytes[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return sum;
}

using Mac = std::array<std::uint8_t, 6>;
inline constexpr Mac server_mac{0x02, 0, 0, 0, 0, 0x01};
inline constexpr Mac client_mac{0x02, 0, 0, 0, 0, 0x02};

struct Tag {
  std::uint16_t ether_type = 0x8100;
  std::uint16_t control = 0;
};

// An IP packet in an Ethernet frame. Fields set to something but their default override what would be right.
struct FrameText {
  Mac destination = server_mac;
  Mac source = client_mac;
  std::vector<Tag> tags = {};
  std::string from = "198.51.100.7";  // both of one family
  std::string to = "192.0.2.1";
  std::uint8_t protocol = 17;
  std::uint8_t hop_limit = 61;
  std::uint16_t ip_id = 0x4321;
  std::uint16_t fragment = 0;
  Octets ip_options = {};  // IPv4: a multiple of 4 bytes
  Octets padding = {};     // behind the IP packet
};

inline Octets address_octets(const std::string& text) {
  const auto address = *IpAddress::parse(text);
  const auto wire = address.wire();
  return {wire.begin(), wire.end()};
}

inline Octets ip_frame(const FrameText& text, const Octets& content) {
  Octets out;
  for (const auto b : text.destination) put8(out, b);
  for (const auto b : text.source) put8(out, b);
  for (const auto& tag : text.tags) {
    put16(out, tag.ether_type);
    put16(out, tag.control);
  }
  const Octets from = address_octets(text.from);
  const Octets to = address_octets(text.to);
  const bool ipv4 = to.size() == 4;
  put16(out, ipv4 ? 0x0800 : 0x86dd);
  Octets ip;
  if (ipv4) {
    put8(ip, 0x45 + static_cast<unsigned>(text.ip_options.size()) / 4);
    put8(ip, 0);
    put16(ip, static_cast<unsigned>(20 + text.ip_options.size() + content.size()));
    put16(ip, text.ip_id);
    put16(ip, text.fragment);
    put8(ip, text.hop_limit);
    put8(ip, text.protocol);
    put16(ip, 0);
    put(ip, from);
    put(ip, to);
    put(ip, text.ip_options);
    const unsigned sum = internet_sum(ip);
    ip[10] = static_cast<std::byte>(~sum >> 8 & 0xff);
    ip[11] = static_cast<std::byte>(~sum & 0xff);
  } else {
    put32(ip, 0x60000000);
    put16(ip, static_cast<unsigned>(content.size()));
    put8(ip, text.protocol);
    put8(ip, text.hop_limit);
    put(ip, from);
    put(ip, to);
  }
  put(out, ip);
  put(out, content);
  put(out, text.padding);
  return out;
}

// `content` with the 16-bit checksum at `field` made right for the pseudo header of `text`.
inline Octets summed(const FrameText& text, Octets content, std::size_t field) {
  Octets pseudo = address_octets(text.from);
  put(pseudo, address_octets(text.to));
  put16(pseudo, text.protocol);
  put16(pseudo, static_cast<unsigned>(content.size()));
  content[field] = content[field + 1] = std::byte{0};
  unsigned sum = ~internet_sum(content, internet_sum(pseudo)) & 0xffff;
  if (sum == 0) sum = 0xffff;
  content[field] = static_cast<std::byte>(sum >> 8);
  content[field + 1] = static_cast<std::byte>(sum & 0xff);
  return content;
}

inline Octets udp(const FrameText& text, unsigned from_port, unsigned to_port,
                  const Octets& payload) {
  Octets out;
  put16(out, from_port);
  put16(out, to_port);
  put16(out, static_cast<unsigned>(8 + payload.size()));
  put16(out, 0);
  put(out, payload);
  return summed(text, out, 6);
}

inline Octets udp_frame(const FrameText& text, unsigned from_port, unsigned to_port,
                        const Octets& payload) {
  return ip_frame(text, udp(text, from_port, to_port, payload));
}

// The frame that answers `request`: all swapped, hop limit 64, IPv4 id 0 with Don't Fragment.
inline FrameText answering(FrameText request) {
  std::swap(request.from, request.to);
  request.destination = request.source;
  request.source = server_mac;
  request.hop_limit = 64;
  request.ip_id = 0;
  request.fragment = 0x4000;
  request.padding.clear();
  request.ip_options.assign(request.ip_options.size(), std::byte{0});
  return request;
}

}  // namespace pharos::packets
