#include "pharos/config/model.hh"

#include <gtest/gtest.h>

#include "small_config.hh"

namespace pharos::config {
namespace {

TEST(MistakesTest, NamesUnknownKeysAndTheNearestKnownOne) {
  expect_mistake("run_directry: /x\n",
                 "test.yaml:1: unknown key 'run_directry' in the configuration (did you mean "
                 "'run_directory'?)");
  expect_mistake(small("dataplane:\n  memory_bytes: 1GiB\n"),
                 "test.yaml:11: unknown key 'memory_bytes' in dataplane (did you mean 'memory'?)");
  expect_mistake("controlplane: {score: {banana: 1}}\n",
                 "test.yaml:1: unknown key 'banana' in controlplane.score (known are: proximity, "
                 "health, headroom, "
                 "condition, version, risk, confidence)");
}

TEST(MistakesTest, NamesWrongTypes) {
  expect_mistake("dataplane: 5\n",
                 "test.yaml:1: dataplane takes keys and values, not a single value");
  expect_mistake(
      "services: {}\n",
      "test.yaml:1: here belongs a list (of: keys and values), not keys and values (write [a, "
      "b], or one '- a' a line)");
  expect_mistake("dataplane:\n  dns_port: [53]\n",
                 "test.yaml:2: here belongs a single value (whole number), not a list");
  expect_mistake("dataplane: {sandbox: yes}\n",
                 "test.yaml:1: 'yes' is neither true nor false (write true or false)");
  expect_mistake("dataplane: {sandbox: }\n",
                 "test.yaml:1: key 'sandbox' has no value (sandbox: false)");
  expect_mistake("dataplane: {ecs: true}\n",
                 "test.yaml:1: 'true' is not one of all, listed, ignore");
  expect_mistake("dataplane: {ecs: ignored}\n",
                 "test.yaml:1: 'ignored' is not one of all, listed, ignore (did you mean "
                 "'ignore'?)");
  expect_mistake("dataplane: {ecs: listed}\n",
                 "test.yaml:1: dataplane.ecs goes by the client subnets of listed resolvers, and "
                 "none is listed (add dataplane.ecs_resolvers: [192.0.2.0/24])");
  expect_mistake("[]\n", "test.yaml:1: the configuration takes keys and values, not a list");
}

TEST(MistakesTest, NamesServicesThatGoByAListOfResolversThatIsEmpty) {
  const auto service = [](const std::string& dataplane, const std::string& mode) {
    return dataplane +
           "sites: [{id: fra, location: [50.11, 8.68]}]\nzones: [{id: example.com}]\nservices:\n"
           "  - id: www\n    names: www.example.com\n    ecs: " +
           mode + "\n    endpoints: [{id: a, site: fra, address: 192.0.2.1}]\n";
  };
  expect_mistake(service("", "listed"),
                 "test.yaml:4: service 'www' goes by the client subnets of listed resolvers, and "
                 "none is listed (add dataplane.ecs_resolvers: [192.0.2.0/24])");
  expect_mistake(service("", "none"), "test.yaml:6: 'none' is not one of all, listed, ignore");
  const auto load = [&](const std::string& dataplane, const std::string& mode) {
    auto config = load_text(service(dataplane, mode), "test.yaml");
    EXPECT_TRUE(config) << config.error().text();
    return std::pair(config->dataplane.ecs_heard, ecs_of(config->services[0], config->dataplane));
  };
  using Mode = catalog::EcsMode;
  EXPECT_EQ(load("dataplane: {ecs_resolvers: 192.0.2.0/24}\n", "listed"),
            std::pair(true, Mode::listed));
  EXPECT_EQ(load("dataplane: {ecs: ignore}\n", "all"), std::pair(true, Mode::all));
  EXPECT_EQ(load("dataplane: {ecs: ignore}\n", "ignore"), std::pair(false, Mode::ignore));
  EXPECT_EQ(load("", "ignore"), std::pair(true, Mode::ignore)) << "others may go by them";
}

TEST(MistakesTest, NamesWhatIsWrongWithRateLimits) {
  const auto limit = [](const std::string& keys) {
    return "dataplane: {rate_limit: {" + keys + "}}\n";
  };
  expect_mistake(limit("responses_per_second: 2M"),
                 "test.yaml:1: rate 2M is out of range (write one from 0.01 to 1M)");
  expect_mistake(limit("memory: 5000"),
                 "test.yaml:1: memory 5000 is not a power of two (write 8KiB)");
  expect_mistake(limit("ipv4_prefix: 33"),
                 "test.yaml:1: number 33 is out of range (write one from 8 to 32)");
  expect_mistake(limit("classes: [{id: a, responses_per_second: 1}, {id: a, "
                       "responses_per_second: 2}]"),
                 "test.yaml:1: two rate classes are called 'a' (give each an id of its own)");
  expect_mistake(limit("classes: [{id: a}]"),
                 "test.yaml:1: dataplane.rate_limit.classes[] needs the key "
                 "'responses_per_second' (responses_per_second: 5)");
}

TEST(MistakesTest, NamesWhatIsWrongWithCookieSecretsButNeverTheSecret) {
  const auto secrets = [](const std::string& one) {
    return "dataplane: {cookies: {secrets: [{" + one + "}]}}\n";
  };
  EXPECT_EQ(mistakes_of(secrets("secret: e5e973e5a6b2a43f48e7dc849e37bfcf")), "");
  expect_mistake(secrets("secret: e5e973e5a6b2a43f48e7dc849e37bf"),
                 "test.yaml:1: the secret is not 16 bytes in hexadecimal or base64 (pharosctl key "
                 "generate --bytes 16 makes one)");
  expect_mistake(secrets("secret: \"00000000000000000000000000000000\""),
                 "test.yaml:1: the secret is all zeros (pharosctl key generate --bytes 16 makes "
                 "one)");
  expect_mistake(secrets(""),
                 "test.yaml:1: a cookie secret has neither 'secret' nor 'file' (give one of them: "
                 "{file: /etc/pharos/cookie.key})");
  expect_mistake(secrets("file: /nonexistent"),
                 "test.yaml:1: key file '/nonexistent' cannot be read (pharosctl key generate "
                 "--bytes 16 --bare makes one)");
}

TEST(MistakesTest, NamesValuesOutOfRange) {
  expect_mistake("dataplane: {dns_port: 65536}\n",
                 "test.yaml:1: number 65536 is out of range (write one from 1 to 65535)");
  expect_mistake("dataplane: {dns_port: -1}\n",
                 "test.yaml:1: '-1' is not a whole number (write one from 1 to 65535)");
  expect_mistake("controlplane: {beacon_window: 2h}\n",
                 "test.yaml:1: duration 2h is out of range (write one from 1s to 1h)");
  expect_mistake("dataplane: {memory: 1KiB}\n",
                 "test.yaml:1: size 1KiB is out of range (write one from 16MiB to 1TiB)");
  expect_mistake("run_directory: run\n",
                 "test.yaml:1: the path is not absolute (begin it with '/')");
  expect_mistake("log_level: inof\n",
                 "test.yaml:1: 'inof' is not one of trace, debug, info, warning, error (did you "
                 "mean 'info'?)");
}

TEST(MistakesTest, NamesMissingKeys) {
  expect_mistake("dataplane:\n  ports:\n    - {id: a, device: x}\n",
                 "test.yaml:3: dataplane.ports[] needs the key 'addresses' (addresses: "
                 "[192.0.2.53, \"2001:db8::53\"])");
  expect_mistake("sites:\n  - id: fra\n",
                 "test.yaml:2: sites[] needs the key 'location' (location: [50.11, 8.68])");
  expect_mistake("locales:\n  - id: eu\n",
                 "test.yaml:2: locale 'eu' selects no clients (add prefixes, csv or mmdb)");
}

TEST(MistakesTest, NamesKeysThatStandTwice) {
  expect_mistake(
      "log_level: info\nlog_level: debug\n",
      "test.yaml:2: key 'log_level' stands here a second time (the first one is in line 1)");
}

TEST(MistakesTest, NamesIdsThatStandTwice) {
  expect_mistake("sites:\n  - {id: fra, location: [0, 0]}\n  - {id: fra, location: [0, 0]}\n",
                 "test.yaml:3: site 'fra' stands here again (the first one is at test.yaml:2)");
  expect_mistake(
      "zones: [{id: Example.com}, {id: example.COM.}]\n",
      "test.yaml:1: zone 'example.com.' stands here again (the first one is at test.yaml:1)");
  expect_mistake(small("  - {id: x, names: WWW.example.com, endpoints: [{id: a, site: fra, "
                       "address: 192.0.2.1}]}\n"),
                 "test.yaml:10: service name 'www.example.com.' stands here again (the first one "
                 "is at test.yaml:7)");
  expect_mistake(small("      - {id: a, site: fra, address: 192.0.2.2}\n"),
                 "test.yaml:10: endpoint 'a' of service 'www' stands here again (the first one is "
                 "at test.yaml:9)");
  expect_mistake(
      "dataplane: {ports: [{id: a, device: x, addresses: 192.0.2.1}, {id: b, device: x, addresses: "
      "192.0.2.2}]}\n",
      "test.yaml:1: device 'x' stands here again (the first one is at test.yaml:1)");
}

TEST(MistakesTest, NamesReferencesToWhatIsNotThere) {
  expect_mistake(small("      - {id: b, site: frq, address: 192.0.2.2}\n"),
                 "test.yaml:10: endpoint 'b' of service 'www' names the unknown site 'frq' (did "
                 "you mean 'fra'?)");
  expect_mistake(small("    fail: to nowhere\n"),
                 "test.yaml:10: 'fail' of service 'www' names the unknown service 'nowhere' (add "
                 "it to 'services')");
  expect_mistake(
      small("locales: [{id: eu, prefixes: 192.0.2.0/24, latency: {nyc: 1ms}}]\n"),
      "test.yaml:10: latency of locale 'eu' names the unknown site 'nyc' (add it to 'sites')");
  expect_mistake(
      small("locales: [{id: eu, mmdb: [{file: c.mmdb, field: nearest_site, values: [nyc]}]}]\n"),
      "test.yaml:10: nearest_site of locale 'eu' names the unknown site 'nyc' (add it to 'sites')");
  expect_mistake(small("  - {id: b, names: www.exmple.com, endpoints: [{id: a, site: fra, address: "
                       "192.0.2.1}]}\n"),
                 "test.yaml:10: service name 'www.exmple.com.' lies in no zone of ours (did you "
                 "mean a name in "
                 "'example.com.'?)");
}

TEST(MistakesTest, NamesEndpointsOfUnknownOrUnsaidVersions) {
  const auto with = [](const std::string& versions, const std::string& first,
                       const std::string& second) {
    return "sites: [{id: fra, location: [0, 0]}]\nzones: [{id: example.com}]\nservices:\n"
           "  - {id: www, names: www.example.com, " +
           versions +
           "endpoints: [\n"
           "      {id: a, site: fra, address: 192.0.2.1" +
           first +
           "},\n"
           "      {id: b, site: fra, address: 192.0.2.2" +
           second + "}]}\n";
  };
  EXPECT_EQ(mistakes_of(with("versions: {v1: 1}, ", "", "")), "");
  EXPECT_EQ(mistakes_of(with("", ", version: v1", ", version: v2")), "");
  expect_mistake(with("versions: {v10: 1, v20: 0.5}, ", ", version: v10", ", version: v21"),
                 "test.yaml:6: endpoint 'b' of service 'www' is of the unknown version 'v21' (did "
                 "you mean 'v20'?)");
  expect_mistake(
      with("", ", version: v1", ""),
      "test.yaml:6: endpoint 'b' of service 'www' does not say its version (version: v1)");
}

TEST(MistakesTest, ChecksAddressesWeightsAndTtlsOfAService) {
  expect_mistake(small("      - {id: b, site: fra, address: 192.0.2.1}\n"),
                 "test.yaml:10: address 192.0.2.1 stands twice in service 'www' (endpoint 'a' has "
                 "it already)");
  expect_mistake(small("      - {id: b, site: fra, address: 192.0.2.2, addresses: [192.0.2.3]}\n"),
                 "test.yaml:10: endpoint 'b' of service 'www' has both 'address' and 'addresses' "
                 "(give one of them)");
  expect_mistake(
      small("      - {id: b, site: fra}\n"),
      "test.yaml:10: endpoint 'b' of service 'www' has no address (address: 203.0.113.10)");
  expect_mistake(
      "sites: [{id: fra, location: [0, 0]}]\nzones: [{id: example.com}]\nservices:\n"
      "  - {id: www, names: www.example.com, endpoints: [{id: a, site: fra, address: 192.0.2.1, "
      "weight: 0}]}\n",
      "test.yaml:4: all endpoints of service 'www' have weight 0 (0 is for last resorts: give at "
      "least one of "
      "them more)");
  expect_mistake(small("    ttl_floor: 2m\n"),
                 "test.yaml:10: ttl_floor 2m is above ttl_ceiling 1m (TTLs move between the two)");
  expect_mistake(small("      - {id: b, site: fra, address: 192.0.2.2, ttl_max: 2s}\n"),
                 "test.yaml:10: ttl_max 2s of endpoint 'b' is below ttl_floor 5s of its service "
                 "(lower ttl_floor, or "
                 "raise ttl_max)");
  expect_mistake(small("    answers_max: 33\n"),
                 "test.yaml:10: number 33 is out of range (write one from 1 to 32)");
  expect_mistake(small("    slots: 100\n"),
                 "test.yaml:10: 100 slots are not a power of two (write 64 or 128)");
  expect_mistake(small("    fail: to www\n"),
                 "test.yaml:10: service 'www' fails to itself (name another one)");
}

TEST(MistakesTest, NamesServicesThatFailInACircle) {
  const auto service = [](const std::string& id, const std::string& to) {
    return "  - {id: " + id + ", names: " + id + ".example.com, fail: to " + to +
           ", endpoints: [{id: e, site: fra, address: 192.0.2.9}]}\n";
  };
  expect_mistake(small(service("a", "b") + service("b", "c") + service("c", "a")),
                 "test.yaml:10: services fail to each other in a circle that begins at 'a' (let "
                 "one of them fail open or "
                 "closed)");
  EXPECT_EQ(mistakes_of(small(service("a", "b") + service("b", "www"))), "");
}

TEST(MistakesTest, NamesPrefixesThatBelongToTwoLocales) {
  expect_mistake(
      "locales:\n  - {id: a, prefixes: [10.0.0.0/8, 10.1.0.0/16]}\n  - {id: b, prefixes: "
      "10.0.0.0/8}\n",
      "test.yaml:3: prefix 10.0.0.0/8 of locale 'b' already belongs to locale 'a' (the first one "
      "is at "
      "test.yaml:2)");
  expect_mistake(
      "locales:\n  - {id: a, prefixes: [10.0.0.1/8]}\n",
      "test.yaml:2: '10.0.0.1/8' has bits set behind its prefix length (write 10.0.0.0/8)");
  expect_mistake(
      "locales: [{id: default, prefixes: 10.0.0.0/8}]\n",
      "test.yaml:1: the locale 'default' is everyone in no other locale (choose another id)");
}

TEST(MistakesTest, ChecksKeysAndBeaconsOfSites) {
  const std::string listen = "controlplane: {beacon_listen: '127.0.0.1:5380'}\n";
  expect_mistake("sites:\n  - {id: fra, location: [0, 0], beacon_interval: 1s}\n",
                 "test.yaml:2: site 'fra' expects beacons, but has no keys to check them with (add "
                 "keys, or leave "
                 "beacon_interval out)");
  expect_mistake(
      "sites:\n  - {id: fra, location: [0, 0], keys: [{id: 1, file: x}]}\n",
      "test.yaml:2: site 'fra' sends beacons, but nothing here takes them (add dataplane.ports or "
      "controlplane.beacon_listen)");
  expect_mistake(
      listen +
          "sites:\n  - {id: fra, location: [0, 0], keys: [{id: 1, file: x}, {id: 1, file: y}]}\n",
      "test.yaml:3: site 'fra' has two keys with the id 1 (give each its own id, so that beacons "
      "can say which "
      "one they use)");
  expect_mistake(
      listen + "sites: [{id: fra, location: [0, 0], keys: [{id: 1}]}]\n",
      "test.yaml:2: a key has neither 'secret' nor 'file' (give one of them: {id: 1, file: "
      "/etc/pharos/site.key})");
  expect_mistake(
      "sites: [{id: fra, location: [8.68, 150.11]}, {id: nyc, location: [150.11, 8.68]}]\n",
      "test.yaml:1: latitude 150.11 is not between -90 and 90 (latitude comes first: are they "
      "swapped?)");
}

TEST(MistakesTest, ChecksCoresPortsAndRings) {
  const std::string port = "  ports: [{id: a, device: x, addresses: 192.0.2.53, queues: 3}]\n";
  expect_mistake("dataplane:\n" + port + "  worker_cores: [1, 2]\n",
                 "test.yaml:3: 3 queues need as many worker cores, but there are 2 (list more "
                 "cores, or lower 'queues' of "
                 "the ports)");
  expect_mistake("dataplane:\n" + port + "  worker_cores: [1-3]\n  control_core: 2\n",
                 "test.yaml:3: core 2 is the control core and a worker core (workers poll without "
                 "end: give the control "
                 "thread a core of its own)");
  expect_mistake("dataplane: {worker_cores: [3-1]}\n",
                 "test.yaml:1: the cores '3-1' run backwards");
  expect_mistake("dataplane: {beacon_ring: 3MiB}\n",
                 "test.yaml:1: beacon_ring 3MiB is not a power of two (write 4MiB)");
  expect_mistake("dataplane: {dns_port: 5380}\n",
                 "test.yaml:1: DNS and beacons have the same port 5380 (give one of them "
                 "another port)");
  expect_mistake("controlplane: {health: {cpu_high: 80%}}\n",
                 "test.yaml:1: cpu_low is not below cpu_high (the gap between the two keeps an "
                 "endpoint from flapping)");
}

TEST(MistakesTest, ChecksExceptionInterfacesAndListeningAddresses) {
  const std::string port =
      "dataplane:\n  ports:\n    - {id: a, device: net_tap0, addresses: 192.0.2.53, ";
  expect_mistake(port + "exception_interface: much-too-long-for-linux}\n",
                 "test.yaml:3: 'much-too-long-for-linux' is no name of an interface (at most 15 "
                 "letters, digits, '-', '_' and '.')");
  expect_mistake(port + "gateways: 192.0.2.1}\n",
                 "test.yaml:3: 'gateways' without an exception interface (add "
                 "exception_interface)");
  expect_mistake(port + "exception_interface: x0, gateways: [192.0.2.1, 192.0.2.2]}\n",
                 "test.yaml:3: two gateways of one family (one IPv4 and one IPv6 address at most)");
  expect_mistake(port +
                     "exception_interface: x0}\n"
                     "    - {id: b, device: net_tap1, addresses: 192.0.2.54, "
                     "exception_interface: x0}\n",
                 "test.yaml:4: exception interface 'x0' stands here again (the first one is at "
                 "test.yaml:3)");
  expect_mistake("dataplane: {listen: ['127.0.0.1:53', '127.0.0.1:53']}\n",
                 "test.yaml:1: we listen on 127.0.0.1 port 53 twice (remove one of them)");
}

TEST(MistakesTest, CollectsAllMistakesInOrderOfLines) {
  const auto result =
      load_text("services: 1\nlog_level: loud\ndataplane: {dns_port: x}\nbogus: 1\n", "test.yaml");
  ASSERT_FALSE(result);
  ASSERT_EQ(result.error().errors.size(), 4U) << result.error().text();
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_EQ(result.error().errors[i].where, "test.yaml:" + std::to_string(i + 1));
}

TEST(MistakesTest, StopsCountingMistakesAtALimit) {
  std::string text;
  for (int i = 0; i < 5'000; ++i) text += "unknown" + std::to_string(i) + ": 1\n";
  const auto result = load_text(text, "test.yaml");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().errors.size(), 101U);
  EXPECT_EQ(result.error().errors.back().text(),
            "there are more mistakes than 100 (mend these first)");
}

TEST(MistakesTest, NamesTheLineOfAYamlError) {
  const auto text = mistakes_of("services:\n  - {id: a\nzones: [\n");
  EXPECT_TRUE(text.starts_with("test.yaml:")) << text;
  EXPECT_NE(text.find("not valid YAML: "), std::string::npos) << text;
}

TEST(MistakesTest, TakesAnchorsMergeKeysAndExtensions) {
  const auto config = load_text(
      "x-defaults: &defaults {ttl_floor: 2s, ttl_ceiling: 20s}\n" +
          small("  - <<: *defaults\n    ttl_ceiling: 30s\n    id: b\n    names: b.example.com\n"
                "    endpoints: [{id: a, site: fra, address: 192.0.2.1}]\n"),
      "test.yaml");
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->services[1].ttl_floor, seconds(2));
  EXPECT_EQ(config->services[1].ttl_ceiling, seconds(30));
}

TEST(MistakesTest, EndsABillionLaughs) {
  std::string text = "x-0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n";
  for (int i = 1; i < 30; ++i) {
    text += "x-" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) text += (j == 0 ? "*a" : ", *a") + std::to_string(i - 1);
    text += "]\n";
  }
  EXPECT_NE(mistakes_of(text).find("aliases expand to too many values"), std::string::npos);
}

TEST(MistakesTest, EndsDeepNestingAndCycles) {
  EXPECT_NE(mistakes_of(std::string(100'000, '[')).find("test.yaml:1: "), std::string::npos);
  EXPECT_NE(
      mistakes_of("x-a: " + std::string(40, '[') + std::string(40, ']')).find("deeper than 32"),
      std::string::npos);
  EXPECT_NE(mistakes_of("x-a: &a [*a]\n").find("inside of its own anchor"), std::string::npos);
}

TEST(MistakesTest, RefusesEveryTruncationWithoutACrash) {
  const auto whole = small("locales: [{id: eu, prefixes: [192.0.2.0/24]}]\n");
  ASSERT_EQ(mistakes_of(whole), "");
  std::size_t refused = 0;
  for (std::size_t size = 0; size < whole.size(); ++size)
    refused += mistakes_of(whole.substr(0, size)).empty() ? 0U : 1U;
  EXPECT_GT(refused, whole.size() / 2);
}

}  // namespace
}  // namespace pharos::config
