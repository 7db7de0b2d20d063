#include "pharos/dataplane/observe/dnstap_frame.hh"

#include <utility>

#include "dnstap.pb-c.h"

namespace pharos::dataplane {

namespace {

constexpr std::int64_t ns_per_s = 1'000'000'000;

// The encoder only reads what the schema's types cannot call const.
[[nodiscard]] ProtobufCBinaryData binary(ConstBytes bytes) noexcept {
  auto* data = reinterpret_cast<std::uint8_t*>(const_cast<std::byte*>(bytes.data()));
  return {.len = bytes.size(), .data = data};
}

void set_client(const CopyHead& head, Dnstap__Message& message) noexcept {
  message.has_socket_family = 1;
  message.socket_family = head.ipv4 ? DNSTAP__SOCKET_FAMILY__INET : DNSTAP__SOCKET_FAMILY__INET6;
  message.has_socket_protocol = 1;
  message.socket_protocol = head.transport == Transport::tcp ? DNSTAP__SOCKET_PROTOCOL__TCP
                                                             : DNSTAP__SOCKET_PROTOCOL__UDP;
  if (!head.client_given) return;
  const auto address = std::as_bytes(std::span(head.client.bytes));
  message.has_query_address = 1;
  message.query_address = binary(head.ipv4 ? address.subspan(12) : address);
}

void set_times(const CopyHead& head, Dnstap__Message& message) noexcept {
  message.has_query_time_sec = message.has_query_time_nsec = 1;
  message.query_time_sec = static_cast<std::uint64_t>(head.query_ns / ns_per_s);
  message.query_time_nsec = static_cast<std::uint32_t>(head.query_ns % ns_per_s);
  if (head.kind == CopyKind::query) return;
  message.has_response_time_sec = message.has_response_time_nsec = 1;
  message.response_time_sec = static_cast<std::uint64_t>(head.response_ns / ns_per_s);
  message.response_time_nsec = static_cast<std::uint32_t>(head.response_ns % ns_per_s);
}

}  // namespace

bool encode_dnstap(ConstBytes record, const DnstapServer& server,
                   std::vector<std::uint8_t>& frame) {
  if (record.size() < sizeof(CopyHead)) return false;
  const auto head = load<CopyHead>(record.data());
  const auto bytes = record.subspan(sizeof head);
  if (head.message_bytes > bytes.size()) return false;

  Dnstap__Message message = DNSTAP__MESSAGE__INIT;
  const bool is_query = head.kind == CopyKind::query;
  message.type =
      is_query ? DNSTAP__MESSAGE__TYPE__AUTH_QUERY : DNSTAP__MESSAGE__TYPE__AUTH_RESPONSE;
  set_client(head, message);
  set_times(head, message);
  if (head.message_bytes != 0) {
    (is_query ? message.has_query_message : message.has_response_message) = 1;
    (is_query ? message.query_message : message.response_message) =
        binary(bytes.first(head.message_bytes));
  }

  Dnstap__Dnstap dnstap = DNSTAP__DNSTAP__INIT;
  dnstap.type = DNSTAP__DNSTAP__TYPE__MESSAGE;
  dnstap.message = &message;
  dnstap.has_identity = server.identity.empty() ? 0 : 1;
  dnstap.identity = binary(as_bytes(server.identity));
  dnstap.has_version = server.version.empty() ? 0 : 1;
  dnstap.version = binary(as_bytes(server.version));
  frame.resize(dnstap__dnstap__get_packed_size(&dnstap));
  frame.resize(dnstap__dnstap__pack(&dnstap, frame.data()));
  return true;
}

}  // namespace pharos::dataplane
