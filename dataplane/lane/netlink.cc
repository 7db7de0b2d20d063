#include "pharos/dataplane/lane/netlink.hh"

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace pharos::dataplane {

namespace {

using Message = std::vector<std::byte>;

// In front of the rules for the main table (32766), behind that for local addresses (0).
constexpr std::uint32_t rule_priority = 5300;
constexpr unsigned rules_max = 1024;

[[nodiscard]] std::uint8_t family_of(const IpAddress& address) {
  return address.is_ipv4() ? AF_INET : AF_INET6;
}

// | nlmsghdr | `body`, one of rtmsg and the like |, attributes to follow.
template <typename Body>
[[nodiscard]] Message begin(std::uint16_t type, std::uint16_t flags, const Body& body) {
  Message message(NLMSG_LENGTH(sizeof body));
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
  std::memcpy(message.data(), &header, sizeof header);
  std::memcpy(message.data() + NLMSG_HDRLEN, &body, sizeof body);
  return message;
}

void put(Message& message, std::uint16_t type, ConstBytes content) {
  const std::size_t at = NLMSG_ALIGN(message.size());
  message.resize(at + RTA_SPACE(content.size()));
  const rtattr attribute{.rta_len = static_cast<unsigned short>(RTA_LENGTH(content.size())),
                         .rta_type = type};
  std::memcpy(message.data() + at, &attribute, sizeof attribute);
  std::memcpy(message.data() + at + RTA_LENGTH(0), content.data(), content.size());
}

void put(Message& message, std::uint16_t type, std::uint32_t value) {
  put(message, type, object_bytes(value));
}

[[nodiscard]] ConstBytes wire_of(const IpAddress& address) {
  return address.wire();
}

}  // namespace

Result<Netlink> Netlink::open() {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket) return fail_errno("socket", "netlink");
  return Netlink(std::move(socket));
}

Status Netlink::request(Message& message, const char* what) {
  nlmsghdr header{};
  std::memcpy(&header, message.data(), sizeof header);
  header.nlmsg_len = static_cast<std::uint32_t>(message.size());
  header.nlmsg_seq = ++sequence_;
  std::memcpy(message.data(), &header, sizeof header);
  if (::send(socket_.get(), message.data(), message.size(), 0) < 0) return fail_errno(what);
  std::array<std::byte, 8192> reply{};
  for (;;) {
    const auto got = ::recv(socket_.get(), reply.data(), reply.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(nlmsgerr)))) return fail_errno(what);
    std::memcpy(&header, reply.data(), sizeof header);
    if (header.nlmsg_seq != sequence_ || header.nlmsg_type != NLMSG_ERROR) continue;
    nlmsgerr outcome{};
    std::memcpy(&outcome, reply.data() + NLMSG_HDRLEN, sizeof outcome);
    if (outcome.error == 0) return {};
    errno = -outcome.error;
    return fail_errno(what);
  }
}

Status Netlink::add_address(unsigned interface, const IpAddress& address) {
  ifaddrmsg body{};
  body.ifa_family = family_of(address);
  body.ifa_prefixlen = static_cast<std::uint8_t>(address_bits(address.family()));
  body.ifa_flags = IFA_F_NODAD;
  body.ifa_scope = RT_SCOPE_UNIVERSE;
  body.ifa_index = interface;
  auto message = begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body);
  put(message, IFA_LOCAL, wire_of(address));
  put(message, IFA_ADDRESS, wire_of(address));
  auto done = request(message, "address");
  if (!done) return std::unexpected(std::move(done.error()).in(address.text()));
  return {};
}

Status Netlink::add_route(unsigned table, unsigned interface, const IpPrefix& destination,
                          const std::optional<IpAddress>& gateway) {
  rtmsg body{};
  body.rtm_family = family_of(destination.address);
  body.rtm_dst_len = destination.length;
  body.rtm_table = RT_TABLE_UNSPEC;  // more than 8 bits: RTA_TABLE
  body.rtm_protocol = RTPROT_STATIC;
  body.rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  body.rtm_type = RTN_UNICAST;
  // The gateway is a neighbour, whatever our prefixes say.
  body.rtm_flags = gateway ? unsigned{RTNH_F_ONLINK} : 0U;
  auto message = begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body);
  put(message, RTA_TABLE, table);
  put(message, RTA_OIF, interface);
  if (destination.length != 0) put(message, RTA_DST, wire_of(destination.address));
  if (gateway) put(message, RTA_GATEWAY, wire_of(*gateway));
  auto done = request(message, "route");
  if (!done) return std::unexpected(std::move(done.error()).in(destination.text()));
  return {};
}

Status Netlink::add_rule(unsigned table, const IpAddress& source) {
  fib_rule_hdr body{};
  body.family = family_of(source);
  body.src_len = static_cast<std::uint8_t>(address_bits(source.family()));
  body.table = RT_TABLE_UNSPEC;
  body.action = FR_ACT_TO_TBL;
  auto message = begin(RTM_NEWRULE, NLM_F_CREATE, body);
  put(message, FRA_TABLE, table);
  put(message, FRA_PRIORITY, rule_priority);
  put(message, FRA_SRC, wire_of(source));
  auto done = request(message, "rule");
  if (!done) return std::unexpected(std::move(done.error()).in(source.text()));
  return {};
}

void Netlink::remove_rules(unsigned table, Family family) {
  for (unsigned i = 0; i < rules_max; ++i) {
    fib_rule_hdr body{};
    body.family = family == Family::ipv4 ? AF_INET : AF_INET6;
    body.table = RT_TABLE_UNSPEC;
    body.action = FR_ACT_TO_TBL;
    auto message = begin(RTM_DELRULE, 0, body);
    put(message, FRA_TABLE, table);
    put(message, FRA_PRIORITY, rule_priority);
    if (!request(message, "rule")) return;  // none is left
  }
}

}  // namespace pharos::dataplane
