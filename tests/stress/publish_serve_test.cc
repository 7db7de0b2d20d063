// Readers under liburcu QSBR against a stream of publishes, through the table store and its socket.
//
// Every table of generation g says g: the zone's serial in the catalog, and each address of each answer in the
// ranking. A reader loads the root once for a burst of look-ups, as the worker loop does, and demands that all it
// sees is of the root's own generation. A root freed too early is a fault on unmapped memory, or a report of
// AddressSanitizer; one published without order is a report of ThreadSanitizer, to which dataplane/core/rcu.hh tells
// what grace periods order. At the end every image ever published has been unmapped.
#include "pharos/dataplane/core/rcu.hh"
#include "pharos/dataplane/table/table_store.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "unit/dataplane/table/table_fixture.hh"

namespace pharos::dataplane {
namespace {

constexpr std::uint32_t reader_count = 3;
constexpr std::uint64_t generations = 4000;
constexpr std::uint64_t generations_per_base = 20;
constexpr std::uint64_t generations_per_locale_map = 500;
constexpr std::uint32_t records_per_answer = 4;
constexpr unsigned burst_queries = 32;
constexpr unsigned turns_per_yield = 64;
constexpr std::uint64_t generations_seen_min = 20;  // by each reader, however busy the machine is

// All pools and locales anew, each answer of four addresses that say the generation.
ImageBuffer ranking_of(Version version, const ranking::View* onto) {
  test_images::Records records(onto != nullptr ? onto->segment_count() : 0);
  const std::vector<std::uint32_t> addresses(records_per_answer,
                                             static_cast<std::uint32_t>(version.generation));
  std::vector<ranking::RowEntry> rows;
  for (std::uint32_t pool = 0; pool < pool_count; ++pool) {
    const ranking::Ref slots[] = {records.add_answer(60, addresses),
                                  records.add_answer(60, addresses)};
    const ranking::Ref cells[locale_count] = {records.add_answer(60, addresses),
                                              records.add_slots(slots)};
    rows.push_back({pool, records.add_row(cells)});
  }
  ranking::Summary summary{pool_count, locale_count, 0, 0, version, version};
  if (onto != nullptr) {
    summary.segment = onto->segment_count();
    summary.base = onto->base_version();
    summary.follows = onto->version();
  }
  return test_images::assemble_ranking(version, summary, rows, records.bytes(),
                                       test_images::ranking_id());
}

bool answer_says(const Answer& answer, std::uint64_t generation) {
  constexpr unsigned record_bytes = 16;
  if (answer.answer_count != records_per_answer) return false;
  for (unsigned i = 0; i < records_per_answer; ++i) {
    const std::uint32_t address = load<Be32>(answer.body() + i * record_bytes + record_bytes - 4);
    if (address != generation) return false;
  }
  return true;
}

// A burst of look-ups in one root; the number of answers that are not of its generation.
unsigned mixed_answers(const TableRoot& root, std::uint32_t seed) {
  const std::uint64_t generation = root.version.generation;
  unsigned mixed = root.catalog.zones()[0].serial == generation ? 0 : 1;
  for (unsigned i = 0; i < burst_queries; ++i) {
    const std::uint32_t mixed_bits = (seed + i) * 0x9e3779b9U;
    auto name = test_images::service_name(mixed_bits % pool_count);
    const auto length = static_cast<unsigned>(name.size());
    name.resize(name.size() + dns::name_slack_bytes);
    const auto* node = root.catalog.find(name.data(), length);
    if (node == nullptr) return mixed + 1;
    const auto locale = root.locales.find_ipv4(mixed_bits).index;
    const auto cell = root.ranking.row(catalog::slots_of(*node)[0].value)[locale];
    const Answer* answer = root.ranking.answer(cell, mixed_bits >> 8);
    if (answer == nullptr || !answer_says(*answer, generation)) ++mixed;
  }
  return mixed;
}

struct ReaderReport {
  std::uint64_t bursts = 0;
  std::uint64_t mixed = 0;
  std::uint64_t went_back = 0;
  std::uint64_t generations_seen = 0;
};

void read_until(const std::atomic<bool>& ending, const RcuPointer<const TableRoot>& published,
                ReaderReport& report) {
  RcuReader reader;
  std::uint64_t newest = 0;
  std::uint64_t turns = 0;
  // relaxed: the flag orders nothing; the thread is joined
  while (!ending.load(std::memory_order_relaxed)) {
    if (const TableRoot* root = published.load(); root != nullptr) {
      const std::uint64_t generation = root->version.generation;
      report.mixed += mixed_answers(*root, static_cast<std::uint32_t>(report.bursts));
      report.went_back += generation < newest;
      report.generations_seen += generation > newest;
      newest = std::max(newest, generation);
      ++report.bursts;
    }
    reader.quiescent();
    // Gives the core away now and then as an idle worker does: offline, so that no grace period waits for it. On a machine
    // with less cores than threads every grace period would otherwise last until each reader has had its turn.
    if (++turns % turns_per_yield == 0) {
      reader.offline();
      std::this_thread::yield();
      reader.online();
    }
  }
}

// The control plane's side, and the control thread's: both on the test's thread, turn by turn.
class Publisher {
 public:
  Publisher(TableStore& store, const std::string& socket_path) : store_(store) {
    client_ = std::move(*table_channel::connect_to(socket_path));
    store_.on_readable();
    EXPECT_TRUE(table_channel::receive(client_.get()));
  }

  bool publish(std::uint64_t generation) {
    const Version version{1, generation};
    const TableRoot* root = store_.root();
    const bool base = root == nullptr || generation % generations_per_base == 0;
    std::vector<ImageKind> kinds = {ImageKind::catalog,
                                    base ? ImageKind::ranking_base : ImageKind::ranking_delta};
    std::vector<UniqueFd> images;
    images.push_back(std::move(*seal_in_memfd(catalog_of(version), "catalog")));
    images.push_back(
        std::move(*seal_in_memfd(ranking_of(version, base ? nullptr : &root->ranking), "ranking")));
    if (root == nullptr || generation % generations_per_locale_map == 0) {
      kinds.push_back(ImageKind::locale_map);
      images.push_back(std::move(*seal_in_memfd(locale_map_of(version), "locale map")));
    }
    std::vector<int> fds;
    for (const auto& image : images) fds.push_back(image.get());
    const auto message = table_channel::make_publish(version, kinds);
    EXPECT_TRUE(table_channel::send(client_.get(), object_bytes(message), fds));
    store_.on_readable();
    const auto answer = table_channel::receive(client_.get());
    if (!answer) return false;
    const auto& acknowledge = std::get<table_channel::Acknowledge>(answer->message);
    EXPECT_EQ(acknowledge.outcome, table_channel::Outcome::adopted) << acknowledge.reason.data();
    return acknowledge.outcome == table_channel::Outcome::adopted;
  }

 private:
  TableStore& store_;
  UniqueFd client_;
};

TEST(PublishServeTest, NoAnswerMixesGenerationsAndEveryOldRootIsFreed) {
  const TemporaryFiles files;
  const auto socket_path = files.directory() + "/tables.sock";
  RcuPointer<const TableRoot> published;
  auto store = TableStore::open({socket_path, "", 0, {}}, [&published](const TableRoot* next) {
    published.store(next);
    synchronize_rcu();
  });
  ASSERT_TRUE(store) << store.error().text();

  std::atomic<bool> ending{false};
  std::vector<ReaderReport> reports(reader_count);
  std::vector<std::weak_ptr<const Mapping>> images;
  {
    std::vector<std::jthread> readers;
    for (auto& report : reports)
      readers.emplace_back([&] { read_until(ending, published, report); });
    Publisher publisher(**store, socket_path);
    for (std::uint64_t generation = 1; generation <= generations; ++generation) {
      if (!publisher.publish(generation)) break;
      const TableRoot& root = *(*store)->root();
      images.emplace_back(root.catalog_bytes);
      images.emplace_back(root.ranking_bytes.back());
    }
    // relaxed: see read_until()
    ending.store(true, std::memory_order_relaxed);
  }
  ASSERT_NE((*store)->root(), nullptr);
  EXPECT_EQ((*store)->root()->version.generation, generations);
  const auto alive =
      std::ranges::count_if(images, [](const auto& image) { return !image.expired(); });
  EXPECT_EQ(alive, static_cast<std::ptrdiff_t>(1 + (*store)->root()->ranking_bytes.size()));
  store->reset();
  EXPECT_TRUE(std::ranges::all_of(images, [](const auto& image) { return image.expired(); }));

  for (const auto& report : reports) {
    EXPECT_EQ(report.mixed, 0U);
    EXPECT_EQ(report.went_back, 0U);
    EXPECT_GT(report.generations_seen, generations_seen_min);
  }
}

}  // namespace
}  // namespace pharos::dataplane
