#include "pharos/dataplane/lane/tap.hh"

#include "pharos/base/clock.hh"
#include "pharos/dataplane/lane/netlink.hh"

#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

namespace pharos::dataplane {

namespace {

// A former process that was killed takes its device along, but a moment after its lock on the run directory.
constexpr Duration former_device_wait = seconds(3);
constexpr int former_device_poll_ms = 20;

[[nodiscard]] ifreq request_for(const std::string& interface) {
  ifreq request{};
  interface.copy(request.ifr_name, IFNAMSIZ - 1);
  return request;
}

[[nodiscard]] bool has_ipv6(const std::vector<IpAddress>& addresses) {
  return std::ranges::any_of(addresses, [](const auto& a) { return !a.is_ipv4(); });
}

[[nodiscard]] Result<UniqueFd> make_device(const std::string& name) {
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return fail_errno("open", "/dev/net/tun");
  const auto deadline = monotonic_now() + former_device_wait;
  for (;;) {
    auto request = request_for(name);
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL);
    if (::ioctl(fd.get(), TUNSETIFF, &request) == 0) return fd;
    const int number = errno;
    const bool taken = number == EBUSY || number == EINVAL || number == EEXIST;
    if (taken && monotonic_now() < deadline) {
      ::poll(nullptr, 0, former_device_poll_ms);
      continue;
    }
    auto error = fail_errno("TUNSETIFF", "exception interface '" + name + "'").error();
    if (taken) error.hint = "an interface of that name is there already: ip link delete " + name;
    if (number == EPERM) error.hint = "it takes CAP_NET_ADMIN to make one";
    return std::unexpected(std::move(error));
  }
}

[[nodiscard]] std::string sysctl_path(const char* family, const std::string& interface,
                                      const char* key) {
  return std::string("/proc/sys/net/") + family + "/conf/" + interface + "/" + key;
}

// Sets a value unless it is there already: where /proc/sys is read-only, whoever made it so can set them.
[[nodiscard]] Status set_sysctl(const char* family, const std::string& interface, const char* key,
                                char value) {
  const auto path = sysctl_path(family, interface, key);
  const UniqueFd reader(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!reader) return errno == ENOENT ? Status{} : fail_errno("open", path);
  char now[2] = {};
  const auto got = ::read(reader.get(), now, sizeof now);
  if (got >= 1 && now[0] == value && (got == 1 || now[1] == '\n')) return {};
  const UniqueFd writer(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!writer || ::write(writer.get(), &value, 1) != 1) {
    auto error = fail_errno("write", path).error();
    error.hint = std::string("set it to ") + value + " yourself, if /proc/sys is read-only here";
    return std::unexpected(std::move(error));
  }
  return {};
}

struct Sysctl {
  const char* family;
  const char* key;
  char value;
};

[[nodiscard]] Status set_sysctls(const std::string& interface, std::span<const Sysctl> all) {
  for (const auto& one : all) {
    if (auto ok = set_sysctl(one.family, interface, one.key, one.value); !ok) return ok;
  }
  return {};
}

// The kernel gets the frames of an AF_PACKET port twice: at the interface itself and from us. At the interface it must take none,
// or it would answer ARP twice and UDP with "port unreachable". Strict reverse path filtering drops IPv4, since the way back
// leads to the exception interface. Merged segments do not fit the driver's buffers.
[[nodiscard]] Status silence(const std::string& interface) {
  static constexpr Sysctl all[] = {
      {"ipv4", "arp_ignore", '8'}, {"ipv4", "rp_filter", '1'}, {"ipv6", "disable_ipv6", '1'}};
  if (auto ok = set_sysctls(interface, all); !ok) return ok;
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  for (const auto command : {ETHTOOL_SGRO, ETHTOOL_SGSO}) {
    ethtool_value value{.cmd = static_cast<__u32>(command), .data = 0};
    auto request = request_for(interface);
    request.ifr_data = reinterpret_cast<char*>(&value);
    (void)::ioctl(socket.get(), SIOCETHTOOL, &request);  // not every driver has it
  }
  return {};
}

}  // namespace

unsigned routing_table_of(const std::string& interface) noexcept {
  std::uint32_t digest = 2166136261U;  // FNV-1a
  for (const char c : interface) digest = (digest ^ static_cast<unsigned char>(c)) * 16777619U;
  return 0x7068'0000U | (digest >> 16);
}

Result<Tap> Tap::open(const TapSettings& settings) {
  auto fd = make_device(settings.name);
  if (!fd) return std::unexpected(fd.error());
  Tap tap(std::move(*fd), settings.name);
  const auto where = "exception interface '" + settings.name + "'";
  if (auto ok = tap.set_up(settings); !ok) return std::unexpected(std::move(ok.error()).in(where));
  if (auto ok = tap.route(settings); !ok) return std::unexpected(std::move(ok.error()).in(where));
  // Once more, now that it has its addresses: the kernel announces them (arp_notify, ndisc_notify), for neighbours that
  // remember the MAC of another.
  if (auto ok = tap.set_mac(settings.mac); !ok)
    return std::unexpected(std::move(ok.error()).in(where));
  if (!settings.shadow.empty()) {
    if (auto ok = silence(settings.shadow); !ok)
      return std::unexpected(std::move(ok.error()).in("interface '" + settings.shadow + "'"));
  }
  return tap;
}

Status Tap::set_mac(const MacAddress& mac) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  auto request = request_for(name_);
  request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
  std::memcpy(request.ifr_hwaddr.sa_data, mac.bytes.data(), mac.bytes.size());
  if (::ioctl(socket.get(), SIOCSIFHWADDR, &request) != 0) return fail_errno("SIOCSIFHWADDR");
  return {};
}

Status Tap::set_up(const TapSettings& settings) {
  // No addresses or routes but ours, no forwarding, no answers for the addresses of other interfaces.
  const Sysctl before_up[] = {{"ipv4", "arp_ignore", '1'},
                              {"ipv4", "arp_announce", '2'},
                              {"ipv4", "arp_notify", '1'},
                              {"ipv4", "forwarding", '0'},
                              {"ipv6", "disable_ipv6", has_ipv6(settings.addresses) ? '0' : '1'},
                              {"ipv6", "accept_ra", '0'},
                              {"ipv6", "autoconf", '0'},
                              {"ipv6", "accept_dad", '0'},
                              {"ipv6", "ndisc_notify", '1'},
                              {"ipv6", "forwarding", '0'}};
  if (auto ok = set_sysctls(settings.name, before_up); !ok) {
    // Most are what the system has anyway; what cannot be done without fails below by itself.
    spdlog::warn("exception interface '{}': {}", settings.name, ok.error().text());
  }
  if (auto ok = set_mac(settings.mac); !ok) return ok;
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  auto request = request_for(settings.name);
  request.ifr_mtu = static_cast<int>(settings.mtu_bytes);
  if (::ioctl(socket.get(), SIOCSIFMTU, &request) != 0) return fail_errno("SIOCSIFMTU");
  request = request_for(settings.name);
  if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) return fail_errno("SIOCGIFFLAGS");
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return fail_errno("SIOCSIFFLAGS");
  return {};
}

// Where packets from our addresses go is decided by a table of their own: the machine's other routes stay as they are.
Status Tap::route(const TapSettings& settings) {
  auto netlink = Netlink::open();
  if (!netlink) return std::unexpected(netlink.error());
  const unsigned table = routing_table_of(settings.name);
  const unsigned index = ::if_nametoindex(settings.name.c_str());
  for (const auto family : {Family::ipv4, Family::ipv6}) {
    netlink->remove_rules(table, family);
    const auto of_family = [&](const auto& a) { return a.family() == family; };
    if (std::ranges::none_of(settings.addresses, of_family)) continue;
    for (const auto& address : settings.addresses) {
      if (!of_family(address)) continue;
      if (auto ok = netlink->add_address(index, address); !ok) return ok;
      if (auto ok = netlink->add_rule(table, address); !ok) return ok;
    }
    for (const auto& network : settings.networks) {
      if (!of_family(network)) continue;
      if (auto ok = netlink->add_route(table, index, network, std::nullopt); !ok) return ok;
    }
    const auto gateway = std::ranges::find_if(settings.gateways, of_family);
    const IpPrefix everything{family == Family::ipv4 ? IpAddress::from_ipv4(0) : IpAddress{}, 0};
    if (auto ok = netlink->add_route(
            table, index, everything,
            gateway == settings.gateways.end() ? std::nullopt : std::optional(*gateway));
        !ok) {
      return ok;
    }
  }
  return {};
}

Tap::~Tap() {
  if (!fd_) return;
  if (auto netlink = Netlink::open()) {
    for (const auto family : {Family::ipv4, Family::ipv6})
      netlink->remove_rules(routing_table_of(name_), family);
  }
}

}  // namespace pharos::dataplane
