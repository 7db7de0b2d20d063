#include "pharos/config/model.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "small_config.hh"
#include "temporary_files.hh"

namespace pharos::config {
namespace {

constexpr const char* secret = "6578616d706c65206b65792c206e65766572206465706c6f7920697420212121";

TEST(LoaderTest, TakesTheSmallestConfigurationAndFillsInDefaults) {
  const auto config = load_text(small(), "test.yaml");
  ASSERT_TRUE(config) << config.error().text();
  ASSERT_EQ(config->services.size(), 1U);
  const auto& service = config->services[0];
  EXPECT_EQ(service.names, std::vector<std::string>{"www.example.com."});
  EXPECT_EQ(service.ttl_floor, seconds(5));
  EXPECT_EQ(service.answers_max, 8U);
  EXPECT_EQ(service.source.text(), "test.yaml:6");
  EXPECT_EQ(service.endpoints[0].addresses[0].text(), "192.0.2.1");
  EXPECT_EQ(service.endpoints[0].source.line, 9);
  EXPECT_EQ(config->zones[0].id, "example.com.");
  EXPECT_EQ(config->controlplane.dataplane_socket, "/run/pharos/tables.sock");
  EXPECT_FALSE(config->server_name.empty());
  EXPECT_EQ(config->files, std::vector<std::string>{"test.yaml"});
}

TEST(LoaderTest, TakesAnEmptyFileAsAllDefaults) {
  for (const char* text : {"", "\n# nothing\n", "---\n", "services:\n"}) {
    const auto config = load_text(text, "test.yaml");
    ASSERT_TRUE(config) << config.error().text();
    EXPECT_TRUE(config->services.empty());
    EXPECT_EQ(config->dataplane.dns_port, 53);
  }
}

TEST(LoaderTest, ReadsEveryKeyOfTheDataPlane) {
  const auto config = load_text(
      "run_directory: /tmp/run\nstate_directory: /tmp/state\nlog_level: warning\nserver_name: "
      "ns1\ncontrol_uid: 1000\n"
      "dataplane:\n"
      "  huge_pages: required\n  memory: 1GiB\n  worker_cores: [2-4, 7]\n  control_core: 0\n"
      "  eal_arguments: [--no-telemetry]\n  dns_port: 5353\n  udp_payload_max: 1400\n  nsid: fra\n "
      " ecs: listed\n  ecs_resolvers: [192.0.2.0/24, '2001:db8::/32']\n"
      "  beacon_port: 0\n  beacon_ring: 4MiB\n  allowed_uid: root\n"
      "  user: root\n  sandbox: false\n"
      "  ports:\n"
      "    - {id: a, device: '0000:3b:00.0', addresses: [192.0.2.53, '2001:db8::53'], vlan: 100, "
      "queues: 4,\n"
      "       receive_descriptors: 2048, transmit_descriptors: 4096, idle: adaptive, "
      "checksum_offload: false,\n"
      "       promiscuous: true, exception_interface: pharos0, gateways: [192.0.2.1, 'fe80::1'],\n"
      "       networks: 192.0.2.0/24}\n"
      "  listen: ['127.0.0.1:53', '[::1]:5353']\n"
      "  tcp: {connections_max: 20000, connections_per_client: 64, idle_timeout: 30s,\n"
      "        message_timeout: 2s, memory: 256MiB}\n",
      "test.yaml");
  ASSERT_TRUE(config) << config.error().text();
  const auto& dataplane = config->dataplane;
  EXPECT_EQ(config->run_directory, "/tmp/run");
  EXPECT_EQ(config->state_directory, "/tmp/state");
  EXPECT_EQ(config->log_level, "warning");
  EXPECT_EQ(config->server_name, "ns1");
  EXPECT_EQ(config->control_uid, 1000U);
  EXPECT_EQ(dataplane.huge_pages, HugePages::required);
  EXPECT_EQ(dataplane.memory_bytes, 1U << 30);
  EXPECT_EQ(dataplane.worker_cores, (std::vector<unsigned>{2, 3, 4, 7}));
  EXPECT_EQ(dataplane.control_core, 0U);
  EXPECT_EQ(dataplane.eal_arguments, std::vector<std::string>{"--no-telemetry"});
  EXPECT_EQ(dataplane.dns_port, 5353);
  EXPECT_EQ(dataplane.udp_payload_max_bytes, 1400);
  EXPECT_EQ(dataplane.nsid, "fra");
  EXPECT_EQ(dataplane.ecs, catalog::EcsMode::listed);
  EXPECT_EQ(dataplane.ecs_resolvers, (std::vector<IpPrefix>{*IpPrefix::parse("192.0.2.0/24"),
                                                            *IpPrefix::parse("2001:db8::/32")}));
  EXPECT_TRUE(dataplane.ecs_heard);
  EXPECT_EQ(dataplane.beacon_port, 0);
  EXPECT_EQ(dataplane.beacon_ring_bytes, 4U << 20);
  EXPECT_EQ(dataplane.allowed_uid, 0U);
  EXPECT_EQ(dataplane.user, 0U);
  EXPECT_FALSE(dataplane.sandbox);
  ASSERT_EQ(dataplane.ports.size(), 1U);
  const auto& port = dataplane.ports[0];
  EXPECT_EQ(port.device, "0000:3b:00.0");
  EXPECT_EQ(port.addresses.size(), 2U);
  EXPECT_EQ(port.vlan, 100);
  EXPECT_EQ(port.queues, 4U);
  EXPECT_EQ(port.receive_descriptors, 2048U);
  EXPECT_EQ(port.transmit_descriptors, 4096U);
  EXPECT_EQ(port.idle, IdlePolicy::adaptive);
  EXPECT_FALSE(port.checksum_offload);
  EXPECT_TRUE(port.promiscuous);
  EXPECT_EQ(port.exception_interface, "pharos0");
  ASSERT_EQ(port.gateways.size(), 2U);
  EXPECT_EQ(port.gateways[1].text(), "fe80::1");
  ASSERT_EQ(port.networks.size(), 1U);
  EXPECT_EQ(port.networks[0].text(), "192.0.2.0/24");
  ASSERT_EQ(dataplane.listen.size(), 2U);
  EXPECT_EQ(dataplane.listen[1], (SocketAddress{*IpAddress::parse("::1"), 5353}));
  EXPECT_EQ(dataplane.tcp.connections_max, 20'000U);
  EXPECT_EQ(dataplane.tcp.connections_per_client, 64U);
  EXPECT_EQ(dataplane.tcp.idle_timeout, seconds(30));
  EXPECT_EQ(dataplane.tcp.message_timeout, seconds(2));
  EXPECT_EQ(dataplane.tcp.memory_bytes, 256U << 20);
}

TEST(LoaderTest, ReadsEveryKeyOfTheControlPlane) {
  const auto config = load_text(
      "controlplane:\n"
      "  beacon_listen: ['192.0.2.1:5380', '[2001:db8::1]:5381']\n  beacon_window: 10s\n  "
      "ingest_core: 3\n"
      "  dataplane_socket: /tmp/t.sock\n  delta_segments_max: 16\n  shrink_limit: 20%\n  seed: "
      "18446744073709551615\n"
      "  health: {suspect_intervals: 2.5, down_intervals: 4, rise: 10s, rise_beacons: 5, cpu_high: "
      "90%, cpu_low: 0.8,\n"
      "           memory_high: 97%, memory_low: 92%, fall: 5s, mass_silence_share: 70%}\n"
      "  score: {proximity: 2, health: 0, headroom: 1.5, condition: 0.5, version: 3, risk: 4}\n",
      "test.yaml");
  ASSERT_TRUE(config) << config.error().text();
  const auto& control = config->controlplane;
  ASSERT_EQ(control.beacon_listen.size(), 2U);
  EXPECT_EQ(control.beacon_listen[1].address.text(), "2001:db8::1");
  EXPECT_EQ(control.beacon_listen[1].port, 5381);
  EXPECT_EQ(control.beacon_window, seconds(10));
  EXPECT_EQ(control.ingest_core, 3U);
  EXPECT_EQ(control.dataplane_socket, "/tmp/t.sock");
  EXPECT_EQ(control.delta_segments_max, 16U);
  EXPECT_DOUBLE_EQ(control.shrink_limit, 0.2);
  EXPECT_EQ(control.seed, UINT64_MAX);
  EXPECT_DOUBLE_EQ(control.health.suspect_intervals, 2.5);
  EXPECT_DOUBLE_EQ(control.health.down_intervals, 4);
  EXPECT_EQ(control.health.rise, seconds(10));
  EXPECT_EQ(control.health.rise_beacons, 5U);
  EXPECT_DOUBLE_EQ(control.health.cpu_high, 0.9);
  EXPECT_DOUBLE_EQ(control.health.cpu_low, 0.8);
  EXPECT_DOUBLE_EQ(control.health.memory_high, 0.97);
  EXPECT_DOUBLE_EQ(control.health.memory_low, 0.92);
  EXPECT_EQ(control.health.fall, seconds(5));
  EXPECT_DOUBLE_EQ(control.health.mass_silence_share, 0.7);
  EXPECT_DOUBLE_EQ(control.score.proximity, 2);
  EXPECT_DOUBLE_EQ(control.score.health, 0);
  EXPECT_DOUBLE_EQ(control.score.headroom, 1.5);
  EXPECT_DOUBLE_EQ(control.score.condition, 0.5);
  EXPECT_DOUBLE_EQ(control.score.version, 3);
  EXPECT_DOUBLE_EQ(control.score.risk, 4);
}

TEST(LoaderTest, ReadsEveryKeyOfSitesLocalesAndZones) {
  const TemporaryFiles files;
  files.write("fra.key", std::string(secret) + "\n");
  files.write("geo/de.csv", "198.51.100.0/24,de\n");
  files.write("country.mmdb", "x");
  files.write("a.zone", "x");
  const auto path =
      files.write("pharos.yaml",
                  "controlplane: {beacon_listen: '127.0.0.1:5380'}\n"
                  "sites:\n"
                  "  - {id: fra, region: eu, location: [50.11, 8.68], capacity_rps: 10k, "
                  "beacon_interval: 500ms,\n"
                  "     keys: [{id: 1, file: fra.key}, {id: 2, secret: " +
                      std::string(secret) +
                      "}]}\n"
                      "locales:\n"
                      "  - {id: eu, location: [50, -10], prefixes: [192.0.2.0/24, "
                      "'2001:db8::/32'], latency: {fra: 12ms},\n"
                      "     csv: [{file: geo/de.csv, values: [de]}], mmdb: [{file: country.mmdb, "
                      "field: country, values: DE}]}\n"
                      "zones:\n"
                      "  - {id: a.example, file: a.zone}\n"
                      "  - {id: b.example, primary: ns9, contact: admin.other.example., "
                      "nameservers: [ns9, ns.other.example.],\n"
                      "     hosts: {ns9: [192.0.2.9]}, ttl: 2h, negative_ttl: 30s}\n");
  const auto config = load(path);
  ASSERT_TRUE(config) << config.error().text();
  const auto& site = config->sites.at(0);
  EXPECT_EQ(site.region, "eu");
  EXPECT_DOUBLE_EQ(site.latitude, 50.11);
  EXPECT_DOUBLE_EQ(site.longitude, 8.68);
  EXPECT_EQ(site.capacity_rps, 10'000);
  EXPECT_EQ(site.beacon_interval, milliseconds(500));
  ASSERT_EQ(site.keys.size(), 2U);
  EXPECT_EQ(site.keys[0].id, 1);
  EXPECT_EQ(site.keys[0].secret, site.keys[1].secret);
  EXPECT_EQ(site.keys[0].secret[0], 0x65);
  const auto& locale = config->locales.at(0);
  EXPECT_EQ(locale.latitude, 50);
  EXPECT_EQ(locale.longitude, -10);
  EXPECT_EQ(locale.prefixes.size(), 2U);
  EXPECT_EQ(locale.latency.at("fra"), milliseconds(12));
  EXPECT_EQ(locale.csv.at(0).file, files.directory() + "/geo/de.csv");
  EXPECT_EQ(locale.csv[0].values, std::vector<std::string>{"de"});
  EXPECT_EQ(locale.mmdb.at(0).file, files.directory() + "/country.mmdb");
  EXPECT_EQ(locale.mmdb[0].field, "country");
  EXPECT_EQ(config->zones.at(0).file, files.directory() + "/a.zone");
  const auto& zone = config->zones.at(1);
  EXPECT_EQ(zone.primary, "ns9");
  EXPECT_EQ(zone.contact, "admin.other.example.");
  EXPECT_EQ(zone.nameservers, (std::vector<std::string>{"ns9", "ns.other.example."}));
  EXPECT_EQ(zone.hosts.at("ns9").at(0).text(), "192.0.2.9");
  EXPECT_EQ(zone.ttl, seconds(7200));
  EXPECT_EQ(zone.negative_ttl, seconds(30));
}

TEST(LoaderTest, ReadsEveryKeyOfServicesAndEndpoints) {
  const auto config = load_text(
      "sites: [{id: fra, location: [0, 0]}]\n"
      "zones: [{id: example.com}]\n"
      "services:\n"
      "  - {id: www, names: ['*.www.example.com', example.com], policy: weighted, answers_max: 32, "
      "ttl_floor: 1s,\n"
      "     ttl_ceiling: 5m, panic_threshold: 30%, fail: to backup, slots: 256, versions: {v1: 1, "
      "v2: 0.25},\n"
      "     endpoints: [{id: a, site: fra, address: '192.0.2.1:8443', weight: 2.5, priority: -3, "
      "capacity_rps: 2k,\n"
      "                  ttl_max: 10s, version: v2, state: drain}]}\n"
      "  - {id: backup, names: backup.example.com, policy: failover, fail: closed,\n"
      "     endpoints: [{id: a, site: fra, address: '[2001:db8::1]:443', state: auto}]}\n",
      "test.yaml");
  ASSERT_TRUE(config) << config.error().text();
  const auto& service = config->services.at(0);
  EXPECT_EQ(service.names, (std::vector<std::string>{"*.www.example.com.", "example.com."}));
  EXPECT_EQ(service.policy, Policy::weighted);
  EXPECT_EQ(service.answers_max, 32U);
  EXPECT_EQ(service.ttl_floor, seconds(1));
  EXPECT_EQ(service.ttl_ceiling, seconds(300));
  EXPECT_DOUBLE_EQ(service.panic_threshold, 0.3);
  EXPECT_EQ(service.fail, FailMode::to);
  EXPECT_EQ(service.fail_to, "backup");
  EXPECT_EQ(service.slots, 256U);
  EXPECT_DOUBLE_EQ(service.versions.at("v2"), 0.25);
  const auto& endpoint = service.endpoints.at(0);
  EXPECT_EQ(endpoint.port, 8443);
  EXPECT_DOUBLE_EQ(endpoint.weight, 2.5);
  EXPECT_EQ(endpoint.priority, -3);
  EXPECT_EQ(endpoint.capacity_rps, 2'000);
  EXPECT_EQ(endpoint.ttl_max, seconds(10));
  EXPECT_EQ(endpoint.version, "v2");
  EXPECT_EQ(endpoint.state, Override::drain);
  EXPECT_EQ(config->services.at(1).fail, FailMode::closed);
  EXPECT_EQ(config->services[1].endpoints[0].addresses[0].text(), "2001:db8::1");
  EXPECT_EQ(config->services[1].endpoints[0].state, Override::automatic);
}

TEST(LoaderTest, GivesNameserversOfAMadeZoneTheAddressesOfOurPorts) {
  const auto config = load_text(
      "dataplane: {ports: [{id: a, device: x, addresses: 192.0.2.53}]}\n"
      "zones: [{id: example.com, nameservers: [ns1, ns2.other.example., ns3.example.com.]}]\n",
      "test.yaml");
  ASSERT_TRUE(config) << config.error().text();
  const auto& hosts = config->zones[0].hosts;
  EXPECT_EQ(hosts.size(), 2U);
  EXPECT_EQ(hosts.at("ns1").at(0).text(), "192.0.2.53");
  EXPECT_TRUE(hosts.contains("ns3.example.com."));
}

TEST(LoaderTest, JoinsTheListsOfIncludedFiles) {
  const TemporaryFiles files;
  files.write("more/b.yaml",
              "services:\n  - {id: b, names: b.example.com, endpoints: [{id: e, site: fra, "
              "address: 192.0.2.2}]}\n");
  files.write("more/a.yaml",
              "sites: [{id: nyc, location: [0, 0]}]\ninclude: deeper/z.yaml\n"
              "services:\n  - {id: a, names: a.example.com, endpoints: [{id: e, site: nyc, "
              "address: 192.0.2.3}]}\n");
  files.write("more/deeper/z.yaml", "zones: [{id: example.org}]\n");
  const auto path = files.write("pharos.yaml", small("include: ['more/*.yaml', 'none/*.yaml']\n"));
  const auto config = load(path);
  ASSERT_TRUE(config) << config.error().text();
  ASSERT_EQ(config->services.size(), 3U);
  EXPECT_EQ(config->services[0].id, "www");
  EXPECT_EQ(config->services[1].id, "a");
  EXPECT_EQ(config->services[2].id, "b");
  EXPECT_EQ(config->services[2].source.text(), files.directory() + "/more/b.yaml:2");
  EXPECT_EQ(config->zones.size(), 2U);
  EXPECT_EQ(config->files.size(), 4U);
}

TEST(LoaderTest, TakesEachFileOfAPatternOrDirectoryAsAZoneWithItsName) {
  const TemporaryFiles files;
  for (const char* name : {"many/a.example.zone", "many/B.example.zone", "many/notes.md",
                           "some/c.example.db", "some/d.example", "e.example.txt"}) {
    files.write(name, "");
  }
  const auto path =
      files.write("pharos.yaml", small("zone_files: [many, 'some/*', e.example.txt]\n"));
  const auto config = load(path);
  ASSERT_TRUE(config) << config.error().text();
  std::vector<std::string> zones;
  for (const auto& zone : config->zones) {
    const auto name = std::filesystem::path(zone.file).filename().string();
    zones.push_back(zone.id + " " + name);
  }
  std::ranges::sort(zones);
  EXPECT_EQ(zones,
            (std::vector<std::string>{"a.example. a.example.zone", "b.example. B.example.zone",
                                      "c.example. c.example.db", "d.example. d.example",
                                      "e.example. e.example.txt", "example.com. "}));
}

TEST(LoaderTest, RefusesZoneFilesWithoutAZonesNameAndZonesThatStandTwice) {
  const TemporaryFiles files;
  for (const char* name : {"bad/a..b.zone", "twice/example.com.zone"}) files.write(name, "");
  const auto path =
      files.write("pharos.yaml", small("zone_files:\n  - bad\n  - twice\n  - absent.zone\n"));
  const auto config = load(path);
  ASSERT_FALSE(config);
  const auto text = config.error().text();
  EXPECT_TRUE(text.contains("a..b.zone' is not named like a zone")) << text;
  EXPECT_TRUE(text.contains("example.com.")) << text;
  EXPECT_TRUE(text.contains("absent.zone")) << text;
  EXPECT_EQ(config.error().errors.size(), 3U) << text;
}

TEST(LoaderTest, RefusesIncludesThatAreAbsentRepeatedOrOfTheMainFilesKeys) {
  const TemporaryFiles files;
  files.write("a.yaml", "dataplane: {}\n");
  files.write("loop.yaml", "include: pharos.yaml\n");
  const auto path = files.write("pharos.yaml", "include: [a.yaml, none.yaml, a.yaml, loop.yaml]\n");
  const auto& at = files.directory();
  const auto config = load(path);
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().text(),
            at +
                "/a.yaml:1: unknown key 'dataplane' in an included file (known are: sites, "
                "locales, zones, zone_files, services, "
                "policies, maintenance, include)\n" +
                at + "/loop.yaml:1: file '" + at + "/pharos.yaml' is included a second time\n" +
                path + ":1: include '" + at +
                "/none.yaml': the file cannot be opened: No such file or directory\n" + path +
                ":1: file '" + at + "/a.yaml' is included a second time\n");
}

TEST(LoaderTest, KeepsSecretsFromAProgramThatNeedsNone) {
  const auto config = load_text(
      "controlplane: {beacon_listen: '127.0.0.1:5380'}\n"
      "sites: [{id: fra, location: [0, 0], keys: [{id: 1, secret: " +
          std::string(secret) + "}, {id: 2, file: /nonexistent}]}]\n",
      "test.yaml", Reading::without_secrets);
  ASSERT_TRUE(config) << config.error().text();
  for (const auto& key : config->sites[0].keys)
    EXPECT_TRUE(std::ranges::all_of(key.secret, [](auto b) { return b == 0; }));
}

TEST(LoaderTest, ReadsRateLimitsCookieSecretsAndTheClientKey) {
  const TemporaryFiles files;
  files.write("cookie.key", "e5e973e5a6b2a43f48e7dc849e37bfcf\n");
  files.write("client.key", "445536bcd2513298075a5d379663c962\n");
  const auto path = files.write(
      "pharos.yaml",
      "controlplane: {client_key_file: client.key}\n"
      "dataplane:\n"
      "  cookies: {secrets: [{file: cookie.key}, {secret: '5eXzc+WmsqQ/SOfchJ43vw=='}], badcookie: "
      "false}\n"
      "  rate_limit:\n"
      "    {responses_per_second: 200, nxdomains_per_second: 50, nodata_per_second: 60,\n"
      "     referrals_per_second: 70, errors_per_second: 10, all_per_second: 1k, window: 500ms,\n"
      "     slip: 3, dry_run: true, ipv4_prefix: 28, ipv6_prefix: 48, memory: 64KiB,\n"
      "     exempt: [192.0.2.0/24, '2001:db8::/32'],\n"
      "     classes: [{id: slow, responses_per_second: 0.5}]}\n");
  const auto config = load(path, Reading::without_secrets);
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_FALSE(config->controlplane.client_key) << "the control plane's secret";
  const auto& cookies = config->dataplane.cookies;
  ASSERT_EQ(cookies.secrets.size(), 2U);
  EXPECT_EQ(cookies.secrets[0].secret[0], 0xe5);
  EXPECT_EQ(cookies.secrets[1].secret[15], 0xbf);
  EXPECT_FALSE(cookies.badcookie);
  const auto& limit = config->dataplane.rate_limit;
  EXPECT_EQ(limit.responses_per_second, 200);
  EXPECT_EQ(limit.nxdomains_per_second, 50);
  EXPECT_EQ(limit.nodata_per_second, 60);
  EXPECT_EQ(limit.referrals_per_second, 70);
  EXPECT_EQ(limit.errors_per_second, 10);
  EXPECT_EQ(limit.all_per_second, 1000);
  EXPECT_EQ(limit.window, milliseconds(500));
  EXPECT_EQ(limit.slip, 3U);
  EXPECT_TRUE(limit.dry_run);
  EXPECT_EQ(limit.ipv4_prefix, 28U);
  EXPECT_EQ(limit.ipv6_prefix, 48U);
  EXPECT_EQ(limit.memory_bytes, 65536U);
  EXPECT_EQ(limit.exempt.size(), 2U);
  ASSERT_EQ(limit.classes.size(), 1U);
  EXPECT_EQ(limit.classes[0].id, "slow");
  EXPECT_EQ(limit.classes[0].responses_per_second, 0.5);

  const auto all = load(path);
  ASSERT_TRUE(all) << all.error().text();
  ASSERT_TRUE(all->controlplane.client_key);
  EXPECT_EQ((*all->controlplane.client_key)[1], 0x55);
}

TEST(LoaderTest, RefusesKeyFilesThatOthersMayReadOrThatHoldNoKey) {
  const TemporaryFiles files;
  files.write("open.key", std::string(secret) + "\n", 0644);
  files.write("empty.key", "");
  files.write("short.key", std::string(secret).substr(1));
  const auto path = files.write("pharos.yaml",
                                "controlplane: {beacon_listen: '127.0.0.1:5380'}\n"
                                "sites:\n"
                                "  - {id: a, location: [0, 0], keys: [{id: 1, file: open.key}]}\n"
                                "  - {id: b, location: [0, 0], keys: [{id: 1, file: empty.key}]}\n"
                                "  - {id: c, location: [0, 0], keys: [{id: 1, file: short.key}]}\n"
                                "  - {id: d, location: [0, 0], keys: [{id: 1, file: none.key}]}\n");
  const auto config = load(path);
  ASSERT_FALSE(config);
  ASSERT_EQ(config.error().errors.size(), 4U) << config.error().text();
  EXPECT_NE(config.error().errors[0].what.find("open to every user"), std::string::npos);
  EXPECT_EQ(config.error().errors[1].where, path + ":4");
  EXPECT_NE(config.error().errors[2].what.find("32 bytes"), std::string::npos);
  EXPECT_NE(config.error().errors[3].what.find("cannot be read"), std::string::npos);
}

TEST(LoaderTest, SaysThatTheFileIsNotThere) {
  const auto config = load("/nonexistent/pharos.yaml");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().text(),
            "/nonexistent/pharos.yaml: the file cannot be opened: No such file or directory\n");
  EXPECT_FALSE(load("/"));
}

}  // namespace
}  // namespace pharos::config
