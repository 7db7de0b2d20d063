// See frame_table.hh.
#include "frame_table.hh"

#include <algorithm>

namespace pharos::dataplane {

using namespace packets;  // NOLINT

const Octets question = query({.name = "www.example.com"});

InterfaceSettings frame_settings() {
  InterfaceSettings s;
  s.mac = MacAddress{server_mac};
  s.addresses = {*IpAddress::parse("192.0.2.1"), *IpAddress::parse("192.0.2.2"),
                 *IpAddress::parse(ipv6_address)};
  s.beacon_port = beacon_port;
  return s;
}

Turn::Turn(const InterfaceSettings& settings, const Octets& frame, unsigned room,
           std::uint8_t flags)
    : interface(*make_interface(settings)),
      buffer(std::make_unique<std::byte[]>(std::max<std::size_t>(room, frame.size()) +
                                           query_slack_bytes)) {
  std::ranges::copy(frame, buffer.get());
  burst.begin();
  burst.add(buffer.get(), static_cast<unsigned>(frame.size()), room, flags);
  classify_burst(interface, burst, counters);
}

void Turn::answer(int change) {
  for (Query& query : burst.queries()) {
    query.message[2] |= std::byte{0x80};
    query.verdict = Verdict::answered;
    query.reply_bytes = static_cast<std::uint16_t>(query.length + change);
    for (unsigned i = query.length; i < query.reply_bytes; ++i) query.message[i] = std::byte{0xa5};
    const Octets message(query.message, query.message + query.reply_bytes);
    query.reply_checksum = byte_swap(static_cast<std::uint16_t>(internet_sum(message)));
  }
  finish_burst(interface, burst);
  count_sent(burst, burst.send_count, counters);
}

Octets Turn::sent() const {
  const Frame& frame = burst.frames[0];
  return {frame.data, frame.data + frame.length};
}

Octets turned(Octets message) {
  message[2] |= std::byte{0x80};
  return message;
}

void PrintTo(const FrameRow& row, std::ostream* out) {
  *out << row.what;
}

FrameText v4() {
  return {};
}

FrameText v6() {
  return {.from = ipv6_client, .to = ipv6_address};
}

FrameRow answered(const char* what, const FrameText& text, std::uint16_t from_port) {
  return {what, udp_frame(text, from_port, 53, question), Verdict::answered,
          udp_frame(answering(text), 53, from_port, turned(question))};
}

FrameRow broken(const char* what, Verdict verdict, const FrameText& text,
                const std::function<void(Octets&)>& breakage) {
  Octets frame = udp_frame(text, 40000, 53, question);
  breakage(frame);
  return {what, frame, verdict};
}

std::function<void(Octets&)> ipv4_field(std::size_t at, unsigned value) {
  return [=](Octets& frame) {
    frame[14 + at] = static_cast<std::byte>(value);
    frame[24] = frame[25] = std::byte{0};
    const unsigned sum = ~internet_sum(Octets(frame.begin() + 14, frame.begin() + 34));
    frame[24] = static_cast<std::byte>(sum >> 8 & 0xff);
    frame[25] = static_cast<std::byte>(sum & 0xff);
  };
}

std::function<void(Octets&)> set_byte(std::size_t at, unsigned value) {
  return [=](Octets& frame) { frame[at] = static_cast<std::byte>(value); };
}

FrameText from(FrameText text, const char* source) {
  text.from = source;
  return text;
}

FrameText to(FrameText text, const char* destination) {
  text.to = destination;
  return text;
}

Octets arp(const Mac& destination, unsigned operation, const std::string& sender,
           const std::string& target) {
  Octets out;
  for (const auto b : destination) put8(out, b);
  for (const auto b : client_mac) put8(out, b);
  put(out, hex("0806 0001 0800 06 04"));
  put16(out, operation);
  for (const auto b : client_mac) put8(out, b);
  put(out, address_octets(sender));
  put(out, hex("000000000000"));
  put(out, address_octets(target));
  return out;
}

FrameText icmp6(const std::string& from, const std::string& to, std::uint8_t hop_limit) {
  return {.destination = {0x33, 0x33, 0xff, 0, 0, 0x53},
          .from = from,
          .to = to,
          .protocol = 58,
          .hop_limit = hop_limit};
}

Octets solicitation(const FrameText& text, const std::string& target, const Octets& options) {
  Octets out = hex("87 00 0000 00000000");
  put(out, address_octets(target));
  put(out, options);
  return ip_frame(text, summed(text, out, 2));
}

Octets echo(FrameText text, unsigned type, unsigned bytes) {
  Octets out;
  put8(out, type);
  put(out, hex("00 0000 beef 0007"));
  for (unsigned i = 0; i < bytes; ++i) put8(out, i & 0xff);
  text.protocol = text.to.find(':') == std::string::npos ? 1 : 58;
  if (text.protocol == 58) return ip_frame(text, summed(text, out, 2));
  const unsigned sum = ~internet_sum(out);
  out[2] = static_cast<std::byte>(sum >> 8 & 0xff);
  out[3] = static_cast<std::byte>(sum & 0xff);
  return ip_frame(text, out);
}

}  // namespace pharos::dataplane
