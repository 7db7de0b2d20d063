// Times answers against their causes: sends the beacons of many sites and asks for what they change, in one thread.
//
//   pharos-reaction-probe WORLD KIND COUNT
//
// WORLD, a file, says where and what (see read_world); KIND is `endpoint` (an endpoint is reported down), `site` (a
// site turns hot) or `death` (a site's beacons stop). One line on standard output for each time, in microseconds:
// from the call that sends the beacon, or would have, to the answer that is other (of a death: to the last answer that
// still holds the address). One question is on its way at a time, so a time is long by no more than one round trip,
// of which a line `rtt` tells the median.
#include "pharos/base/clock.hh"
#include "pharos/base/fd.hh"
#include "pharos/base/ip_address.hh"
#include "pharos/wire/beacon.hh"
#include "pharos/wire/dns.hh"
#include "pharos/wire/name_text.hh"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace pharos {
namespace {

constexpr Duration question_timeout = milliseconds(20);
// Between two questions: on few cores a probe that spins would take the time of what it measures.
constexpr unsigned pause_us = 100;
constexpr Duration give_up_after = seconds(10);
constexpr Duration rest = milliseconds(30);  // between two times
constexpr std::size_t message_bytes_max = 512;

[[noreturn]] void quit(const std::string& why) {
  std::fprintf(stderr, "reaction probe: %s\n", why.c_str());
  std::exit(1);
}

struct Site {
  std::uint64_t tag = 0;
  beacon::MacKey key;
  std::uint64_t sequence = 0;
  Instant due;
  SiteReport report;
  bool dead = false;
};

// An endpoint, and a name whose first answer it is.
struct Target {
  std::uint32_t site = 0;
  std::uint64_t endpoint = 0;
  std::array<std::uint8_t, 4> address{};
  std::string name;
};

struct ProbeWorld {
  sockaddr_in dns{};
  sockaddr_in beacons{};
  Duration interval;
  std::vector<Site> sites;
  std::vector<Target> targets;
};

sockaddr_in address_of(const std::string& text, unsigned port) {
  const auto parsed = IpAddress::parse(text);
  if (!parsed || !parsed->is_ipv4()) quit("'" + text + "' is no IPv4 address");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(parsed->ipv4());
  return address;
}

// Lines: `server ADDRESS DNS-PORT BEACON-PORT INTERVAL-MS`, `site ID SECRET-HEX`, `target SITE-INDEX SERVICE ENDPOINT
// ADDRESS NAME`.
ProbeWorld read_world(const char* path) {
  ProbeWorld world;
  std::ifstream file(path);
  std::string word;
  while (file >> word) {
    if (word == "server") {
      std::string address;
      unsigned dns_port = 0, beacon_port = 0;
      std::int64_t interval_ms = 0;
      file >> address >> dns_port >> beacon_port >> interval_ms;
      world.dns = address_of(address, dns_port);
      world.beacons = address_of(address, beacon_port);
      world.interval = milliseconds(interval_ms);
    } else if (word == "site") {
      std::string id, hex;
      file >> id >> hex;
      std::array<std::uint8_t, beacon::secret_bytes> secret{};
      if (hex.size() != 2 * secret.size())
        quit("a secret has " + std::to_string(hex.size()) + " digits");
      for (std::size_t i = 0; i < secret.size(); ++i) {
        secret[i] = static_cast<std::uint8_t>(std::stoul(hex.substr(2 * i, 2), nullptr, 16));
      }
      Site& site = world.sites.emplace_back();
      site.tag = beacon::site_tag(id);
      site.key = beacon::MacKey(secret);
      site.report.metrics.cpu_ratio = 0.1F;
      site.report.interval_ms = static_cast<std::uint32_t>(world.interval.ns / 1'000'000);
    } else if (word == "target") {
      Target target;
      std::string service, endpoint, address;
      file >> target.site >> service >> endpoint >> address >> target.name;
      target.endpoint = endpoint_hash(service, endpoint);
      const auto ip = address_of(address, 0).sin_addr.s_addr;
      std::memcpy(target.address.data(), &ip, sizeof ip);
      world.targets.push_back(std::move(target));
    } else {
      quit("'" + word + "' is no word of a world file");
    }
  }
  if (world.sites.empty() || world.targets.empty()) quit("the world has no sites or no targets");
  return world;
}

std::vector<std::byte> question_for(const std::string& name) {
  const auto wire = dns::parse_name(name);
  if (!wire) quit(wire.error().text());
  std::vector<std::byte> message;
  message.reserve(dns::header_bytes + wire->view().size() + dns::question_tail_bytes);
  message.resize(dns::header_bytes);
  message[2] = std::byte{1};  // RD: as resolvers ask
  message[5] = std::byte{1};  // one question
  message.insert(message.end(), wire->view().begin(), wire->view().end());
  for (const int octet : {0, 1, 0, 1}) message.push_back(static_cast<std::byte>(octet));
  return message;
}

using Addresses = std::vector<std::array<std::uint8_t, 4>>;

class Probe {
 public:
  explicit Probe(ProbeWorld world) : world_(std::move(world)) {
    dns_ = connected(world_.dns);
    beacons_ = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!beacons_) quit("socket");
    const Instant now = monotonic_now();
    for (std::size_t s = 0; s < world_.sites.size(); ++s) {
      world_.sites[s].due = now + Duration{world_.interval.ns * static_cast<std::int64_t>(s) /
                                           static_cast<std::int64_t>(world_.sites.size())};
    }
  }

  // Sends what is due.
  void pump() {
    const Instant now = monotonic_now();
    for (auto& site : world_.sites) {
      if (site.dead || now < site.due) continue;
      send(site);
      site.due = site.due + world_.interval;
    }
  }

  void wait(Duration time) {
    for (const Instant end = monotonic_now() + time; monotonic_now() < end;) {
      pump();
      ::usleep(500);
    }
  }

  // The addresses of a name, in order; asks again until there is an answer.
  Addresses ask(const std::vector<std::byte>& question) {
    std::array<std::byte, message_bytes_max> reply{};
    std::vector<std::byte> sent = question;
    const Instant end = monotonic_now() + give_up_after;
    while (monotonic_now() < end) {
      const Be16 id = ++id_;
      std::memcpy(sent.data(), &id, sizeof id);
      const Instant began = monotonic_now();
      if (::send(dns_.get(), sent.data(), sent.size(), 0) < 0) continue;
      while (monotonic_now() - began < question_timeout) {
        pump();
        pollfd readable{dns_.get(), POLLIN, 0};
        if (::poll(&readable, 1, 1) <= 0) continue;
        const auto got = ::recv(dns_.get(), reply.data(), reply.size(), MSG_DONTWAIT);
        if (got < static_cast<ssize_t>(sent.size()) || std::memcmp(reply.data(), &id, 2) != 0)
          continue;
        rtts_.push_back(monotonic_now() - began);
        return addresses_in(ConstBytes(reply).first(static_cast<std::size_t>(got)), sent.size());
      }
    }
    quit("no answer within 10 s");
  }

  void endpoint_down(const Target& target) {
    const auto question = question_for(target.name);
    if (!holds(ask(question), target.address)) return;
    Site& site = world_.sites[target.site];
    site.report.endpoints = {{.endpoint = target.endpoint, .up = false, .requests_rps = {}}};
    const Instant began = monotonic_now();
    send(site);
    while (holds(ask(question), target.address)) pause(began);
    tell(monotonic_now() - began);
    site.report.endpoints.clear();
  }

  void site_hot(const Target& target) {
    const auto question = question_for(target.name);
    Site& site = world_.sites[target.site];
    if (site.report.metrics.cpu_ratio != 0.1F || !leads(ask(question), target.address)) return;
    site.report.metrics.cpu_ratio = 0.97F;
    const Instant began = monotonic_now();
    send(site);
    while (leads(ask(question), target.address)) pause(began);
    tell(monotonic_now() - began);
  }

  // From the last beacon on. Answers are watched for two intervals more: one that comes back is wrong, too.
  void site_dies(const Target& target) {
    const auto question = question_for(target.name);
    Site& site = world_.sites[target.site];
    if (site.dead || !holds(ask(question), target.address)) return;
    send(site);
    const Instant began = monotonic_now();
    site.dead = true;
    Instant last = began;
    while (monotonic_now() - last < world_.interval * 2) {
      if (holds(ask(question), target.address)) last = monotonic_now();
      pause(began);
    }
    tell(last - began);
    site.dead = false;
    site.due = monotonic_now();
    wait(seconds(4));  // it rises again: most must be alive for a death to be one
  }

  void run(const std::string& kind, std::size_t count) {
    wait(seconds(3));
    rtts_.clear();
    std::size_t told_before = 0;
    for (const auto& target : world_.targets) {
      if (told_ == count) break;
      if (kind == "endpoint") endpoint_down(target);
      if (kind == "site") site_hot(target);
      if (kind == "death") site_dies(target);
      if (std::exchange(told_before, told_) != told_)
        wait(rest + Duration{static_cast<std::int64_t>(random_() % 10'000'000)});
    }
    std::ranges::sort(rtts_);
    std::printf("rtt %.1f\n", rtts_.empty() ? 0 : rtts_[rtts_.size() / 2].seconds() * 1e6);
  }

 private:
  static UniqueFd connected(const sockaddr_in& to) {
    UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
      quit("connect");
    return fd;
  }

  void send(Site& site) {
    std::array<std::byte, beacon::datagram_bytes_max> datagram{};
    const beacon::Stamp stamp{.site_tag = site.tag,
                              .boot_epoch = boot_epoch_,
                              .sequence = ++site.sequence,
                              .sent_wall_ms = wall_now().ns / 1'000'000,
                              .key_id = 1};
    const auto bytes = beacon::encode(stamp, site.report, site.key, datagram);
    if (bytes == 0) quit("a beacon cannot be encoded");
    ::sendto(beacons_.get(), datagram.data(), bytes, 0,
             reinterpret_cast<const sockaddr*>(&world_.beacons), sizeof world_.beacons);
  }

  static Addresses addresses_in(ConstBytes reply, std::size_t question_bytes) {
    Addresses addresses;
    constexpr std::size_t record_bytes = 16;  // pointer, type, class, TTL, length, address
    const unsigned count = load<Be16>(reply.data() + 6);
    for (std::size_t i = 0; i < count; ++i) {
      const auto at = question_bytes + i * record_bytes;
      if (at + record_bytes > reply.size()) quit("an answer holds other records than addresses");
      std::memcpy(addresses.emplace_back().data(), reply.data() + at + 12, 4);
    }
    return addresses;
  }
  static bool holds(const Addresses& answer, const std::array<std::uint8_t, 4>& address) {
    return std::ranges::find(answer, address) != answer.end();
  }
  static bool leads(const Addresses& answer, const std::array<std::uint8_t, 4>& address) {
    return !answer.empty() && answer.front() == address;
  }
  // Before the next question about the same cause.
  static void pause(Instant began) {
    ::usleep(pause_us);
    if (monotonic_now() - began > give_up_after) quit("an answer did not change within 10 s");
  }
  void tell(Duration time) {
    std::printf("%.1f\n", time.seconds() * 1e6);
    std::fflush(stdout);
    ++told_;
  }

  ProbeWorld world_;
  UniqueFd dns_, beacons_;
  std::uint16_t id_ = 0;
  std::uint64_t boot_epoch_ = static_cast<std::uint64_t>(wall_now().ns / 1'000'000);
  std::vector<Duration> rtts_;
  std::size_t told_ = 0;
  std::mt19937_64 random_{7};
};

}  // namespace
}  // namespace pharos

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s WORLD endpoint|site|death COUNT\n", argv[0]);
    return 2;
  }
  pharos::Probe(pharos::read_world(argv[1])).run(argv[2], std::strtoul(argv[3], nullptr, 10));
  return 0;
}
