// The configuration of both daemons, as the loader hands it out: checked, with defaults filled in.
//
// One YAML file (with includes) describes ports, zones, sites, locales and services. `load()` reads
// it all or fails with every mistake that it found, each with file, line, what is wrong and what
// would be right. Every default stands here. Immutable once loaded; a reload makes a new one.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/base/ip_address.hh"
#include "pharos/shared/ecs_mode.hh"
#include "pharos/shared/policy_action.hh"
#include "pharos/wire/svc_params.hh"

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pharos::config {

// Where something was written, for messages: "file:line".
struct Source {
  std::string file;
  int line = 0;
  [[nodiscard]] std::string text() const { return file + ":" + std::to_string(line); }
};

struct SocketAddress {
  IpAddress address;
  std::uint16_t port = 0;
  friend auto operator<=>(const SocketAddress&, const SocketAddress&) = default;
};

// ---- data plane ----

enum class IdlePolicy { poll, adaptive };
enum class HugePages { automatic, required, never };

struct PortConfig {
  std::string id;
  std::string device;  // PCI address "0000:3b:00.0", or vdev arguments "net_af_packet0,iface=eth1"
  // Ours: we answer ARP, neighbour discovery, echo and DNS at them.
  std::vector<IpAddress> addresses;
  std::optional<std::uint16_t> vlan;  // only frames with this tag; default: any
  unsigned queues = 1;                // one worker core each
  unsigned receive_descriptors = 1024;
  unsigned transmit_descriptors = 1024;
  IdlePolicy idle = IdlePolicy::poll;
  bool checksum_offload = true;  // where the port has it
  bool promiscuous = false;
  std::string exception_interface;  // tap for traffic that is not DNS; empty: answered in place
  // With an exception interface: where the kernel's packets from our addresses go. No gateway: to every neighbour.
  std::vector<IpAddress> gateways;  // at most one of each family
  std::vector<IpPrefix> networks;   // reached without the gateway
  Source source;
};

// A rate that name policies refer to by its id.
struct RateClassConfig {
  std::string id;
  double responses_per_second = 0;
  friend bool operator==(const RateClassConfig&, const RateClassConfig&) = default;
};

// Response rate limiting (dataplane/match/README.md). Rates are of each worker, client prefix and class of answer.
struct RateLimitConfig {
  std::optional<double>
      responses_per_second;  // of classes without a rate of their own; empty: no limit
  std::optional<double> nxdomains_per_second;
  std::optional<double> nodata_per_second;
  std::optional<double> referrals_per_second;
  std::optional<double> errors_per_second;
  std::optional<double> all_per_second;  // of a client prefix, all classes together
  Duration window = seconds(1);          // as many replies as this long earns may come at once
  unsigned slip = 2;                     // every n-th reply above the limit is cut to TC; 0: none
  bool dry_run = false;                  // count, but limit nothing
  unsigned ipv4_prefix = 24;
  unsigned ipv6_prefix = 56;
  std::uint64_t memory_bytes = 1U << 20;  // of each worker, a power of two
  std::vector<IpPrefix> exempt;
  std::vector<RateClassConfig> classes;  // `rate_class` of the packet path is the index here plus 1
  friend bool operator==(const RateLimitConfig&, const RateLimitConfig&) = default;
};

struct CookieSecretConfig {
  std::array<std::uint8_t, 16> secret{};
  friend bool operator==(const CookieSecretConfig&, const CookieSecretConfig&) = default;
};

// Server cookies (RFC 7873, 9018).
struct CookiesConfig {
  // The first makes cookies, all are accepted; empty: a random one at every start.
  std::vector<CookieSecretConfig> secrets;
  bool badcookie = true;  // above the limit, BADCOOKIE instead of TC for clients that sent a cookie
  friend bool operator==(const CookiesConfig&, const CookiesConfig&) = default;
};

// Connections of the kernel lane, all listening addresses together.
struct TcpConfig {
  unsigned connections_max = 8192;
  unsigned connections_per_client = 256;   // of one IPv4 address or IPv6 /56
  Duration idle_timeout = seconds(10);     // without a query
  Duration message_timeout = seconds(5);   // for a query to come whole; for its replies to be taken
  std::uint64_t memory_bytes = 64U << 20;  // for queries that are not whole and replies not taken
  friend auto operator<=>(const TcpConfig&, const TcpConfig&) = default;
};

enum class DnstapMessages { both, queries, responses };
enum class DnstapClients { truncated, keyed };

// Copies of queries and responses for a dnstap reader (dataplane/observe/README.md). Without `socket` and `tcp` there are
// none.
struct DnstapConfig {
  std::string socket;                // path of the reader's unix socket
  std::optional<SocketAddress> tcp;  // or its address
  unsigned sample = 1;               // one of so many queries, by chance
  DnstapMessages messages = DnstapMessages::both;
  DnstapClients clients = DnstapClients::truncated;
  unsigned ipv4_prefix = 24;  // bits of a client that leave; 0: none
  unsigned ipv6_prefix = 56;
  std::optional<std::array<std::uint8_t, 16>> key;  // of DnstapClients::keyed; empty: random
  std::string identity;                             // empty: server_name
  std::uint64_t ring_bytes = 1U << 20;              // of each worker, a power of two

  [[nodiscard]] bool on() const noexcept { return !socket.empty() || tcp.has_value(); }
  friend bool operator==(const DnstapConfig&, const DnstapConfig&) = default;
};

struct DataplaneConfig {
  HugePages huge_pages = HugePages::automatic;
  std::uint64_t memory_bytes = 256U << 20;  // for DPDK: mbufs and ports
  std::vector<unsigned> worker_cores;       // empty: all but the first that we may run on
  std::optional<unsigned> control_core;     // default: the first that we may run on
  std::vector<std::string> eal_arguments;   // added as they are
  std::vector<PortConfig> ports;
  std::vector<SocketAddress> listen;  // kernel sockets, UDP and TCP, beside the ports
  TcpConfig tcp;
  std::uint16_t dns_port = 53;
  std::uint16_t udp_payload_max_bytes = 1232;
  std::string nsid;  // empty: not answered
  // Whose client subnets steer answers (RFC 7871), where a service does not say it for itself.
  catalog::EcsMode ecs = catalog::EcsMode::all;
  std::vector<IpPrefix> ecs_resolvers;  // of EcsMode::listed
  // Made by the loader: some service goes by client subnets. Where none does, the option is not answered at all.
  bool ecs_heard = true;
  RateLimitConfig rate_limit;
  CookiesConfig cookies;
  std::uint16_t beacon_port = 5380;            // 0: none
  std::uint64_t beacon_ring_bytes = 1U << 20;  // per worker, a power of two
  std::optional<unsigned> allowed_uid;         // user of the control plane beside root and ours
  std::optional<unsigned> user;                // to become once ports are open; default: none
  bool sandbox = true;                         // give up rights and system calls after the start
  DnstapConfig dnstap;
  unsigned name_samples_per_second = 2048;  // of each worker, for the hottest names; 0: none
  bool demand_samples =
      true;  // steered answers are counted by locale and site, for the control plane
};

// ---- control plane ----

struct ScoreConfig {  // exponents of the factors; 0 switches one off (controlplane/score/README.md)
  double proximity = 1.0;
  double health = 1.0;
  double headroom = 1.0;
  double condition = 1.0;
  double version = 1.0;
  double risk = 1.0;
  double confidence = 1.0;
};

struct HealthConfig {
  // Silence, in measured beacon intervals, until a site is suspected.
  double suspect_intervals = 2.0;
  double down_intervals = 3.0;  // ... until it is down
  Duration rise = seconds(3);   // good for this long before it is up again
  unsigned rise_beacons = 3;    // ... and for this many beacons
  double cpu_high = 0.95;       // endpoint conditions: above for `fall` means degraded
  double cpu_low = 0.85;        // ... until below for `rise`
  double memory_high = 0.95;
  double memory_low = 0.90;
  Duration fall = seconds(2);
  double mass_silence_share = 0.5;  // more sites silent at once than this: suspect ourselves
  double smoothing = 0.5;           // share of the newest beacon in a smoothed metric
  // A metric that beacons no longer carry is believed for so long.
  Duration metric_life = seconds(10);
  // Looks from outside (controlplane/health/README.md): above this share of bad ones an endpoint is down ...
  double probe_quorum = 0.5;
  unsigned probe_votes_min = 1;        // ... where at least so many look at it
  Duration probe_life = seconds(120);  // a look that was not repeated for so long counts no more
};

enum class ApiRole { read, write };
[[nodiscard]] std::string_view name_of(ApiRole role) noexcept;

struct ApiTokenConfig {  // of pharosctl token generate
  std::string id;        // who holds it: for the audit log
  ApiRole role = ApiRole::read;
  std::array<std::uint8_t, 32> hash{};  // BLAKE2b of its text
};

struct ApiClientConfig {  // a client certificate
  std::string name;       // the common name of its subject
  ApiRole role = ApiRole::read;
};

// The HTTPS door (controlplane/api/README.md). Without `listen` there is none.
struct ApiConfig {
  std::vector<SocketAddress> listen;
  std::string certificate, key;  // PEM files; with them every address speaks TLS and nothing else
  std::string client_ca;         // PEM; issuers of client certificates
  bool anonymous_read = false;   // on loopback only: who has no token may look
  double requests_per_second = 50;  // of each caller; twice as many may come at once
  std::vector<ApiTokenConfig> tokens;
  std::vector<ApiClientConfig> clients;
};

// Decisions of the past (controlplane/store/README.md).
struct HistoryConfig {
  bool on = true;
  Duration max_age = seconds(30 * 86'400);
  std::uint64_t max_size_bytes = 256U << 20;
};

// What happens where all sites together cannot take the demand.
enum class Degrade { proportional, importance };

// Demand against capacity (controlplane/assign/README.md).
struct AssignConfig {
  bool enabled = true;
  Duration interval = seconds(5);  // between two assignments
  Duration window = seconds(30);   // over which demand is averaged
  double low_watermark = 0.7;      // of a capacity: load above it begins to cost
  double high_watermark = 0.9;     // ... and goes elsewhere wherever there is room
  double step = 0.02;              // shares that would move by less stay as they are
  Degrade degrade = Degrade::proportional;
};

struct ControlplaneConfig {
  std::vector<SocketAddress> beacon_listen;  // kernel UDP sockets beside the data plane's rings
  Duration beacon_window = seconds(30);      // largest difference between a beacon's clock and ours
  std::optional<unsigned> ingest_core;  // default: not pinned; ingest then waits instead of polling
  std::string dataplane_socket;         // default: <run_directory>/tables.sock
  unsigned delta_segments_max = 24;     // compaction after this many deltas
  double shrink_limit = 0.5;  // a reload that removes more of the names than this needs force
  std::uint64_t seed = 0;     // of every random choice; 0: from the system
  // Deals clients to the slots of answers; shared by a fleet. Empty: made once and kept in the state directory.
  std::optional<std::array<std::uint8_t, 16>> client_key;
  HealthConfig health;
  ScoreConfig score;
  ApiConfig api;
  HistoryConfig history;
  AssignConfig assign;
};

struct KeyConfig {
  std::uint8_t id = 0;  // two may live at once, for rotation
  std::array<std::uint8_t, 32> secret{};
};

struct SiteConfig {
  std::string id;
  std::string region;
  double latitude = 0, longitude = 0;     // degrees
  std::optional<double> capacity_rps;     // requests per second; empty: unlimited
  std::optional<double> in_flight_max;    // requests at a time; empty: unlimited
  Duration beacon_interval = seconds(1);  // expected until measured
  std::vector<KeyConfig> keys;            // empty: the site never beacons and counts as up
  Source source;
};

struct MmdbSelect {
  std::string file;
  std::string field;                // "country", "continent", "subdivision", "asn", "nearest_site"
  std::vector<std::string> values;  // "DE"; "EU"; "US-CA"; "64500"; id of a site
};
struct CsvSelect {
  std::string file;  // lines "prefix,value" or "first,last,value", '#' comments, .gz taken
  std::vector<std::string> values;  // empty: every line
};

struct LocaleConfig {
  std::string id;
  std::optional<double> latitude, longitude;  // where its clients are, for proximity by distance
  std::vector<IpPrefix> prefixes;
  std::vector<CsvSelect> csv;
  std::vector<MmdbSelect> mmdb;
  std::map<std::string, Duration> latency;  // measured, site id -> round-trip time
  double demand_weight = 1;  // requests behind one of its queries, compared with other locales
  Source source;
};

struct ZoneConfig {
  std::string id;               // the origin: "example.com."
  std::string file;             // empty: made from the fields below
  std::string primary = "ns1";  // SOA MNAME, relative to the origin unless it ends with a dot
  std::string contact = "hostmaster";
  std::vector<std::string> nameservers = {"ns1"};
  // A and AAAA for names of the zone, such as ns1.
  std::map<std::string, std::vector<IpAddress>> hosts;
  Duration ttl = seconds(3600);
  Duration negative_ttl = seconds(60);
  Source source;
};

enum class Policy { ranked, weighted, failover, geo, sticky, multivalue };
// When an endpoint that came back takes clients again: at once, when the operator says so, or after a time.
enum class Failback { automatic, manual, hold };
enum class FailMode { open, closed, to };
enum class Override { automatic, up, down, drain };
[[nodiscard]] std::string_view name_of(Policy policy) noexcept;
[[nodiscard]] std::string_view name_of(FailMode mode) noexcept;
[[nodiscard]] std::string_view name_of(Failback value) noexcept;  // "auto", "manual", "hold"
[[nodiscard]] std::string_view name_of(Degrade value) noexcept;
[[nodiscard]] std::string_view name_of(Override value) noexcept;  // "auto", "up", "down", "drain"
[[nodiscard]] std::string_view name_of(IdlePolicy policy) noexcept;
[[nodiscard]] std::string_view name_of(HugePages value) noexcept;

// A policy within the policy of a service: its endpoints and groups stand in what it is in as one.
struct GroupConfig {
  std::string id;  // unique in its service
  std::string in;  // id of another group; empty: the service itself
  Policy policy = Policy::ranked;
  double weight = 1.0;                    // as of an endpoint
  int priority = 0;                       // as of an endpoint
  std::optional<double> panic_threshold;  // default: that of the service
  Source source;
};

struct EndpointConfig {
  std::string id;  // unique in its service
  std::string site;
  std::string group;                 // empty: the service itself
  std::vector<IpAddress> addresses;  // IPv4 go to the A pool, IPv6 to the AAAA pool
  std::uint16_t port = 0;
  double weight = 1.0;  // >= 0; 0: only as a last resort
  int priority = 0;     // failover: lowest first
  std::optional<double> capacity_rps;
  std::optional<Duration> ttl_max;
  std::string version;                   // empty: the service's only version
  Override state = Override::automatic;  // start value; an operator's later word wins
  std::string target;         // its name in SRV, SVCB and HTTPS; empty: made, see target_of()
  dns::SvcParams parameters;  // of SVCB and HTTPS, in place of the service's of the same keys
  Source source;
};

struct ServiceConfig {
  std::string id;
  std::vector<std::string> names;  // absolute, in zones of ours; a leading "*." is a wildcard
  Policy policy = Policy::ranked;
  unsigned answers_max = 8;  // 1-32 addresses in an answer
  Duration ttl_floor = seconds(5);
  Duration ttl_ceiling = seconds(60);
  // Healthy share of weight below which all count as healthy; 0: never.
  double panic_threshold = 0.5;
  FailMode fail = FailMode::open;
  std::string fail_to;                  // service id, with FailMode::to
  std::optional<catalog::EcsMode> ecs;  // default: that of the data plane, see ecs_of()
  Failback failback = Failback::automatic;
  Duration failback_hold = seconds(300);   // Failback::hold: well for this long
  Duration slow_start{};                   // an endpoint that came back takes its share within this
  int importance = 0;                      // in a shortage the higher is served first
  double probe_share = 0;                  // of its demand that each healthy site gets at the least
  unsigned slots = 64;                     // answer variants, a power of two up to 1024
  std::map<std::string, double> versions;  // version -> preference in (0, 1]; absent: 1
  // The same ranking as other records of the names (config/service_records.hh):
  std::vector<std::string> srv;      // "_https._tcp" (RFC 2782)
  std::vector<std::string> svcb;     // "_dns", "_853._dot" (RFC 9460, 2.3)
  std::vector<std::uint16_t> https;  // ports of URLs; 443 stands at the names themselves
  std::vector<std::string>
      alias_names;                  // answered alike, but HTTPS and SVCB lead to the first name
  std::string target_domain;        // endpoints have names below it; empty: the first name
  bool address_hints = true;        // ipv4hint and ipv6hint
  dns::SvcParams parameters;        // of SVCB and HTTPS; port and hints come from the endpoint
  std::vector<GroupConfig> groups;  // policies within this one
  std::vector<EndpointConfig> endpoints;
  Source source;
};

[[nodiscard]] inline catalog::EcsMode ecs_of(const ServiceConfig& service,
                                             const DataplaneConfig& dataplane) noexcept {
  return service.ecs.value_or(dataplane.ecs);
}

// Planned work: the sites drain while it lasts, and no answer made before it outlives its beginning.
struct MaintenanceConfig {
  std::string id;
  std::vector<std::string> sites;
  WallTime from, to;
  Source source;
};

// A pattern of a name policy (name_pattern.hh).
struct PatternConfig {
  std::string text;
  bool regex = false;
  std::uint32_t file = 0;  // index of NamePolicyConfig::files
  int line = 0;
};

struct NamePolicyConfig {
  std::string id;
  int priority = 0;  // lowest first; equal ones in the order of the files
  catalog::PolicyAction action = catalog::PolicyAction::allow;
  std::string service;     // of `route`
  std::string rate_class;  // of `limit`
  bool log = false;        // samples of what it matches go to the log
  std::vector<PatternConfig> patterns;
  std::vector<std::string> files;  // in which patterns stand
  Source source;
};

struct Config {
  std::string file;
  std::vector<std::string> files;  // all that were read: `file` and its includes
  std::string run_directory = "/run/pharos";
  std::string state_directory = "/var/lib/pharos";
  std::string log_level = "info";  // trace, debug, info, warning, error
  std::string server_name;         // host name by default
  // User that may write to control sockets, beside root and ours.
  std::optional<unsigned> control_uid;
  DataplaneConfig dataplane;
  ControlplaneConfig controlplane;
  std::vector<SiteConfig> sites;
  std::vector<LocaleConfig> locales;  // locale 0, "default", is everyone else and always there
  std::vector<ZoneConfig> zones;
  std::vector<ServiceConfig> services;
  std::vector<NamePolicyConfig> policies;
  std::vector<MaintenanceConfig> maintenance;
};

// All mistakes of a configuration: each an Error whose `where` is "file:line".
struct Mistakes {
  std::vector<Error> errors;
  [[nodiscard]] std::string text() const;  // one a line
};

// What the caller is: the packet process holds no secrets but those of its cookies, and opens no
// other key, zone or geography files. All the rest is read and checked for both.
enum class Reading { everything, without_secrets };

// Reads the file and its includes. Never throws; cost is bounded by limits on file size, depth and
// number of values (document.hh).
[[nodiscard]] std::expected<Config, Mistakes> load(const std::string& file,
                                                   Reading reading = Reading::everything);

// The same for text that stands for `file`: includes and other files are found relative to it.
[[nodiscard]] std::expected<Config, Mistakes> load_text(std::string_view text,
                                                        const std::string& file,
                                                        Reading reading = Reading::everything);

// JSON schema (2020-12) of the file, for editors and for `pharosctl config schema`.
[[nodiscard]] std::string schema();

// Every key with its meaning, default and example, as Markdown: the middle of README.md.
[[nodiscard]] std::string reference();

}  // namespace pharos::config
