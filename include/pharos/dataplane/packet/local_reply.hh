// Replies that a host owes its link: ARP, IPv6 neighbour discovery, echo. Written in place of the
// request.
//
// Called by classify_burst for frames that are to our MAC or to a group, where the port has no
// exception port. Cold beside DNS. Each checks all that it reads, writes no more than the frame's
// room, and returns Verdict::local_reply with the frame's length set, or why the frame is dropped.
#pragma once

#include "pharos/dataplane/packet/frame_burst.hh"

namespace pharos::dataplane {

// Requests longer than this are dropped: a full Ethernet frame with two tags.
inline constexpr unsigned local_request_bytes_max = 1522;

// `frame.ip_offset` says where the ARP packet begins.
[[nodiscard]] Verdict reply_to_arp(const Interface& interface, Frame& frame) noexcept;

// An ICMP message in an IPv4 packet to us that the caller has checked, of `ip_bytes` in total.
[[nodiscard]] Verdict reply_to_icmp(const Interface& interface, Frame& frame,
                                    unsigned ip_bytes) noexcept;

// An ICMPv6 message right behind the IPv6 header, to any destination, of `icmp_bytes`.
[[nodiscard]] Verdict reply_to_icmpv6(const Interface& interface, Frame& frame,
                                      unsigned icmp_bytes) noexcept;

}  // namespace pharos::dataplane
