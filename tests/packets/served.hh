// Everything that a configuration's services come to, from its text to the reply's bytes: configuration, world, catalog,
// engine, ranking image, serve_burst. Tests only.
#pragma once

#include "pharos/controlplane/engine/engine.hh"
#include "pharos/controlplane/engine/tables.hh"
#include "pharos/controlplane/image/locale_builder.hh"
#include "pharos/dataplane/dns/serve.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "message_text.hh"
#include "octets.hh"
#include "world.hh"

namespace pharos::packets {

using namespace dataplane;  // NOLINT
using Lines = std::vector<std::string>;

class Served {
 public:
  explicit Served(const std::string& text) {
    auto config = config::load_text(text, "test.yaml");
    if (!config) throw std::runtime_error(config.error().text());
    std::string broken;
    constexpr Version version{1, 1};
    dns::NameHashKey key;
    key.bytes.fill(std::byte{7});
    auto tables = controlplane::build_tables(
        std::make_shared<const config::Config>(std::move(*config)), key, version, {}, broken);
    if (!tables) throw std::runtime_error(tables.error().text());
    const auto& world = (*tables)->world;
    engine_.emplace(world, controlplane::Decisions{}, std::set<std::string>{}, now_);
    ranking_.emplace(world->pool_names(), world->locales, (*tables)->pools_id(),
                     (*tables)->locales_id());
    step();
    auto base = ranking_->build_base(version);
    ranking_->commit();
    root_ = made(make_root(nullptr, version,
                           {.catalog = shared((*tables)->catalog_image.mapping.bytes()),
                            .locale_map = shared((*tables)->locale_image.mapping.bytes()),
                            .ranking_base = shared(base.value()),
                            .ranking_delta = nullptr}));
  }

  // What the operator says reaches the tables as a delta.
  void set(const char* service, const char* endpoint, config::Override value) {
    engine_->set_override(*engine_->world().find_endpoint(service, endpoint), value, now_);
    publish();
  }
  void set_weight(const char* service, const char* endpoint, double weight) {
    engine_->set_weight(*engine_->world().find_endpoint(service, endpoint), weight, now_);
    publish();
  }

  Octets ask(const std::string& name, unsigned type, const std::string& client = "198.18.1.1",
             unsigned payload = 1232) {
    const Question question{.name = name, .type = static_cast<std::uint16_t>(type)};
    const Octets request =
        payload == 0 ? query(question)
                     : query(question, Edns{.payload = static_cast<std::uint16_t>(payload)});
    Octets buffer = request;
    buffer.resize(4096 + query_slack_bytes);
    Query one;
    one.message = buffer.data();
    one.length = static_cast<std::uint16_t>(request.size());
    one.capacity = 4096;
    one.source = *IpAddress::parse(client);
    ServeState state{ServeOptions{}};
    CoreCounters counters;
    serve_burst(state, *root_, {&one, 1}, counters);
    EXPECT_EQ(one.verdict, Verdict::answered);
    buffer.resize(one.reply_bytes);
    return buffer;
  }
  // The first address of the answer to each client, without EDNS. Every one has an answer.
  std::vector<IpAddress> first_addresses(const std::string& name,
                                         const std::vector<IpAddress>& clients) {
    const Octets request = query({.name = name, .type = 1});
    Octets buffer(4096 + query_slack_bytes);
    ServeState state{ServeOptions{}};
    CoreCounters counters;
    std::vector<IpAddress> firsts;
    for (const auto& client : clients) {
      std::ranges::copy(request, buffer.begin());
      Query one;
      one.message = buffer.data();
      one.length = static_cast<std::uint16_t>(request.size());
      one.capacity = 4096;
      one.source = client;
      serve_burst(state, *root_, {&one, 1}, counters);
      constexpr std::size_t fixed_bytes =
          12;  // of a record whose owner is a pointer, before its data
      EXPECT_GE(one.reply_bytes, request.size() + fixed_bytes + 4);
      const auto* data = buffer.data() + request.size() + fixed_bytes;
      firsts.push_back(IpAddress::from_ipv4(std::to_integer<std::uint32_t>(data[0]) << 24 |
                                            std::to_integer<std::uint32_t>(data[1]) << 16 |
                                            std::to_integer<std::uint32_t>(data[2]) << 8 |
                                            std::to_integer<std::uint32_t>(data[3])));
    }
    return firsts;
  }
  // The reply without head, question and OPT.
  Lines lines(const std::string& name, unsigned type, const std::string& client = "198.18.1.1",
              unsigned payload = 1232) {
    auto all = MessageText::of(ask(name, type, client, payload));
    all.erase(all.begin(), all.begin() + 2);
    std::erase_if(all, [](const std::string& line) { return line.starts_with("opt "); });
    return all;
  }

 private:
  void step() {
    const auto round = engine_->step(now_);
    for (const auto& change : round.changes) {
      const auto set =
          ranking_->set(change.pool, round.locales_of(change), round.answers_of(change));
      if (!set) throw std::runtime_error(set.error().text());
    }
  }
  void publish() {
    now_ = now_ + seconds(1);
    step();
    const Version version{1, ++generation_};
    auto delta = ranking_->build_delta(version);
    if (!delta) throw std::runtime_error(delta.error().text());
    ranking_->commit();
    root_ = made(make_root(root_.get(), version,
                           {.catalog = nullptr,
                            .locale_map = nullptr,
                            .ranking_base = nullptr,
                            .ranking_delta = shared(*delta)}));
  }
  static World::Root made(Result<World::Root> root) {
    if (!root) throw std::runtime_error(root.error().text());
    return std::move(*root);
  }
  static SharedImage shared(ConstBytes bytes) {
    const auto fd = seal_in_memfd(bytes, "served");
    return std::make_shared<const Mapping>(map_sealed(fd.value().get()).value());
  }

  Instant now_{1'000'000'000'000};
  std::uint64_t generation_ = 1;
  std::optional<controlplane::Engine> engine_;
  std::optional<controlplane::RankingBuilder> ranking_;
  World::Root root_;
};

}  // namespace pharos::packets
