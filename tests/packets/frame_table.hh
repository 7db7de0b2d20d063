// What the tables of frames share: a row is a frame, its verdict and the frame that is sent back. Rows stand in
// frame_*_rows.cc by topic; frames_test.cc runs them.
#pragma once

#include "pharos/dataplane/packet/frame_burst.hh"
#include "pharos/dataplane/packet/local_reply.hh"

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "octets.hh"

namespace pharos::dataplane {

inline constexpr unsigned room_bytes = 1600;
inline constexpr std::uint16_t beacon_port = 5380;
inline constexpr packets::Mac broadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
inline const std::string ipv6_address = "2001:db8::53";
inline const std::string ipv6_client = "2001:db8:7::9";
inline const std::string our_group = "ff02::1:ff00:53";
inline const packets::Octets source_link = packets::hex("01 01 020000000002");
// "www.example.com" A.
extern const packets::Octets question;

// 192.0.2.1, 192.0.2.2 and `ipv6_address`, with beacons and without an exception port.
InterfaceSettings frame_settings();

// One frame in a buffer of exactly the bytes that the contract allows to touch.
struct Turn {
  Interface interface;
  FrameBurst burst;
  CoreCounters counters;
  std::unique_ptr<std::byte[]> buffer;

  // Receives one frame; classify_burst has run.
  Turn(const InterfaceSettings& settings, const packets::Octets& frame, unsigned room,
       std::uint8_t flags);
  // Answers each query with the same message turned: QR set. `change` bytes longer (0xa5) or shorter.
  void answer(int change = 0);
  [[nodiscard]] packets::Octets sent() const;
};

struct FrameRow {
  const char* what;
  packets::Octets frame;
  Verdict verdict;
  packets::Octets reply = {};  // empty: nothing is sent
  InterfaceSettings interface = frame_settings();
  unsigned room = room_bytes;
  std::uint8_t receive_flags = 0;
};
void PrintTo(const FrameRow& row, std::ostream* out);

// The message with QR set.
packets::Octets turned(packets::Octets message);

// A client's packet to us; the same with one thing changed.
packets::FrameText v4();
packets::FrameText v6();
packets::FrameText from(packets::FrameText text, const char* source);
packets::FrameText to(packets::FrameText text, const char* destination);

FrameRow answered(const char* what, const packets::FrameText& text,
                  std::uint16_t from_port = 40000);
// A well-formed query frame, with one thing done to it.
FrameRow broken(const char* what, Verdict verdict, const packets::FrameText& text,
                const std::function<void(packets::Octets&)>& breakage);
// Changes a byte of the IPv4 header and makes its checksum right again.
std::function<void(packets::Octets&)> ipv4_field(std::size_t at, unsigned value);
std::function<void(packets::Octets&)> set_byte(std::size_t at, unsigned value);

packets::Octets arp(const packets::Mac& destination, unsigned operation, const std::string& sender,
                    const std::string& target);
packets::FrameText icmp6(const std::string& from, const std::string& to,
                         std::uint8_t hop_limit = 255);
packets::Octets solicitation(const packets::FrameText& text, const std::string& target,
                             const packets::Octets& options);
packets::Octets echo(packets::FrameText text, unsigned type, unsigned bytes);

std::vector<FrameRow> dns_rows();
std::vector<FrameRow> broken_rows();
std::vector<FrameRow> local_rows();
std::vector<FrameRow> hostile_rows();

}  // namespace pharos::dataplane
