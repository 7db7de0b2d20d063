// Publishes tables to a running data plane as fast as it acknowledges them, in place of a control plane.
//
//   publish_storm <tables.sock> <count> <base_every>
//
// All tables answer storm.example. with eight addresses, which all carry the number of the publish that made
// them: 10.N.N.k. A client that ever sees two numbers in one answer has caught a mixed generation. Every
// `base_every`th publish is a base, the others are deltas. Prints "first adopted" after the first, and a
// summary at the end; exits 1 as soon as one publish is not adopted.
#include "pharos/controlplane/image/catalog_builder.hh"
#include "pharos/controlplane/image/locale_builder.hh"
#include "pharos/controlplane/image/ranking_builder.hh"
#include "pharos/controlplane/zone/load_zone.hh"
#include "pharos/shared/catalog_image.hh"
#include "pharos/shared/table_channel.hh"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

using namespace pharos;                // NOLINT: a program of one file
using namespace pharos::controlplane;  // NOLINT

[[noreturn]] void die(const std::string& text) {
  std::fprintf(stderr, "publish_storm: %s\n", text.c_str());
  std::exit(1);
}

template <typename T>
T must(Result<T> result) {
  if (!result) die(result.error().text());
  return std::move(*result);
}
void must(const Status& status) {
  if (!status) die(status.error().text());
}

CellContent content_of(unsigned number) {
  CellContent content{.type = 1, .ttl_s = 5, .slots = {{}}};
  for (unsigned k = 1; k <= 8; ++k) {
    content.slots[0].push_back(IpAddress::from_ipv4(10U << 24 | (number & 0xffff) << 8 | k));
  }
  return content;
}

struct Publisher {
  UniqueFd socket;
  Version next;

  // Sends images as one publish and waits for its acknowledgement.
  void publish(std::vector<std::pair<ImageKind, ImageBuffer>> images) {
    table_channel::Publish message{};
    message.header = table_channel::header_for(table_channel::MessageType::publish);
    message.version = next;
    std::vector<UniqueFd> owners;
    std::vector<int> fds;
    for (auto& [kind, bytes] : images) {
      message.kinds[message.image_count++] = kind;
      owners.push_back(must(seal_in_memfd(bytes, "storm")));
      fds.push_back(owners.back().get());
    }
    must(table_channel::send(socket.get(), object_bytes(message), fds));
    const auto received = must(table_channel::receive(socket.get()));
    const auto* ack = std::get_if<table_channel::Acknowledge>(&received.message);
    if (ack == nullptr) die("expected an acknowledgement");
    if (ack->outcome != table_channel::Outcome::adopted)
      die(std::string("not adopted: ") + ack->reason.data());
    ++next.generation;
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) die("usage: publish_storm <tables.sock> <count> <base_every>");
  const auto count = static_cast<unsigned>(std::strtoul(argv[2], nullptr, 10));
  const auto base_every = static_cast<unsigned>(std::strtoul(argv[3], nullptr, 10));

  Publisher publisher{must(table_channel::connect_to(argv[1])), {}};
  const auto hello = must(table_channel::receive(publisher.socket.get()));
  const auto* in_use = std::get_if<table_channel::Hello>(&hello.message);
  if (in_use == nullptr) die("expected a hello");
  publisher.next = {in_use->in_use.epoch + 1, 1};

  config::ZoneConfig zone_config;
  zone_config.id = "example.";
  zone_config.hosts["ns1"] = {IpAddress::from_ipv4(0xc0000235)};
  const auto zone = must(load_zone(zone_config));
  const ZoneData* zones[] = {&zone.data};
  const std::uint64_t pools_id = 42;
  const PoolBinding bindings[] = {{"storm.example.", 1, 0}};
  const LocaleTable locales{{"default"}, {}};
  const auto locales_id = locales_id_of(locales.names);

  RankingBuilder ranking({"storm/A"}, locales.names, pools_id, locales_id);
  const auto started = monotonic_now();
  unsigned bases = 0;
  for (unsigned number = 0; number < count; ++number) {
    must(ranking.set(0, 0, content_of(number)));
    std::vector<std::pair<ImageKind, ImageBuffer>> images;
    if (number == 0) {
      images.emplace_back(ImageKind::catalog,
                          must(build_catalog(zones, bindings, 1, pools_id, {}, publisher.next)));
      images.emplace_back(ImageKind::locale_map, must(build_locale_image(locales, publisher.next)));
    }
    const bool wants_base = number % base_every == 0;
    auto delta = wants_base ? fail(ErrorCode::exhausted, "") : ranking.build_delta(publisher.next);
    if (delta) {
      images.emplace_back(ImageKind::ranking_delta, std::move(*delta));
    } else {
      images.emplace_back(ImageKind::ranking_base, must(ranking.build_base(publisher.next)));
      ++bases;
    }
    publisher.publish(std::move(images));
    ranking.commit();
    if (number == 0) std::puts("first adopted");
    std::fflush(stdout);
  }
  const double seconds = (monotonic_now() - started).seconds();
  std::printf("adopted %u publishes, %u of them bases, in %.2f s\n", count, bases, seconds);
  return 0;
}
