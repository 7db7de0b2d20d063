// The tables socket, adoption and history. See table_store.hh.
#include "pharos/dataplane/table/table_store.hh"

#include "pharos/base/assert.hh"
#include "pharos/dataplane/table/table_files.hh"
#include "pharos/dataplane/table/table_saver.hh"

#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <utility>

namespace pharos::dataplane {
namespace {

using table_channel::Outcome;

// Work of one on_readable(), so that a busy peer does not keep the control thread from its other work.
constexpr unsigned accepts_max = 4;
constexpr unsigned messages_max = 16;

std::int64_t micros_since(Instant start) {
  return (monotonic_now() - start).ns / 1'000;
}

Outcome outcome_of(const Error& error) {
  return error.code == ErrorCode::conflict ? Outcome::out_of_step : Outcome::refused;
}

Status watch(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
    return fail_errno("epoll_ctl", "tables socket");
  return {};
}

// Maps what came with a publish, each image in the place of the kind that the message gives it. That the image itself
// says the same is part of its proof.
Result<NewImages> map_images(const table_channel::Publish& publish, std::span<const UniqueFd> fds,
                             std::uint64_t& image_bytes) {
  NewImages images;
  for (std::uint32_t i = 0; i < publish.image_count; ++i) {
    const ImageKind kind = publish.kinds[i];
    auto mapping = map_sealed(fds[i].get());
    if (!mapping) return std::unexpected(std::move(mapping).error().in(name_of(kind)));
    image_bytes += mapping->size_bytes();
    auto image = std::make_shared<const Mapping>(std::move(*mapping));
    switch (kind) {
      case ImageKind::catalog:
        images.catalog = std::move(image);
        break;
      case ImageKind::locale_map:
        images.locale_map = std::move(image);
        break;
      case ImageKind::ranking_base:
        images.ranking_base = std::move(image);
        break;
      case ImageKind::ranking_delta:
        images.ranking_delta = std::move(image);
        break;
    }
  }
  return images;
}

// Credentials decide, at accept; the mode must only not stand in the way of a third user, nor, where we are not root, of
// a root without capabilities.
[[nodiscard]] bool others_may_connect(unsigned allowed_uid) noexcept {
  return ::geteuid() != 0 || (allowed_uid != 0 && allowed_uid != ::geteuid());
}

}  // namespace

struct TableStore::State {
  TableStoreOptions options;
  SwapRoot swap;
  std::uint64_t boot_id = 0;
  UniqueFd epoll;
  UniqueFd listener;
  UniqueFd connection;
  std::unique_ptr<const TableRoot> root;
  std::deque<Adoption> history;     // newest first
  std::optional<TableFiles> files;  // until the saver has them
  std::unique_ptr<TableSaver> saver;
  std::map<std::string, std::uint64_t> former_hits;  // of policies, by id, from sets that are gone

  [[nodiscard]] Version in_use() const { return root ? root->version : Version{}; }
  void accept_waiting();
  void welcome(UniqueFd peer);
  void receive_waiting();
  void drop_connection(const std::string& why);
  void answer(const table_channel::Publish& publish, std::span<const UniqueFd> fds);
  [[nodiscard]] Result<std::unique_ptr<const TableRoot>> prove(
      const table_channel::Publish& publish, std::span<const UniqueFd> fds,
      Adoption& adoption) const;
  void put_in_place(std::unique_ptr<const TableRoot> next, Adoption& adoption);
  void remember(Adoption adoption);
  void start_saver();
  void keep_hits(const TableRoot& former, const TableRoot& next);
};

// Once what is on disk has been loaded, or will not be.
void TableStore::State::start_saver() {
  if (!files || saver) return;
  saver = std::make_unique<TableSaver>(std::move(*files), options.on_saver_start);
  files.reset();
}

void TableStore::State::accept_waiting() {
  for (unsigned i = 0; i < accepts_max; ++i) {
    auto peer = table_channel::accept_peer(listener.get(), options.allowed_uid);
    if (peer) {
      welcome(std::move(*peer));
      continue;
    }
    if (peer.error().code == ErrorCode::exhausted) return;
    spdlog::warn("tables: connection refused: {}", peer.error().text());
  }
}

// The newer connection replaces the older one: a control plane that was started again must not wait for the end of
// one that hangs.
void TableStore::State::welcome(UniqueFd peer) {
  if (connection) drop_connection("replaced by a newer connection");
  table_channel::Hello hello{};
  hello.header = table_channel::header_for(table_channel::MessageType::hello);
  hello.worker_count = static_cast<std::uint32_t>(options.ring_fds.size());
  hello.boot_id = boot_id;
  if (root) {
    hello.in_use = root->version;
    hello.ranking = root->ranking.version();
    hello.ranking_base = root->ranking.base_version();
    hello.pools_id = root->catalog.header().content_id;
    hello.locales_id = root->locales.header().content_id;
    hello.ranking_segments = root->ranking.segment_count();
  }
  auto good = table_channel::send(peer.get(), object_bytes(hello), options.ring_fds);
  if (good) good = watch(epoll.get(), peer.get());
  if (!good) return spdlog::warn("tables: no hello to the control plane: {}", good.error().text());
  connection = std::move(peer);
  spdlog::info("tables: the control plane is connected");
}

void TableStore::State::drop_connection(const std::string& why) {
  spdlog::info("tables: connection to the control plane closed: {}", why);
  connection.reset();  // leaves the epoll set by being closed
}

void TableStore::State::receive_waiting() {
  for (unsigned i = 0; i < messages_max && connection; ++i) {
    auto received = table_channel::receive(connection.get());
    if (!received) {
      if (received.error().code != ErrorCode::exhausted) drop_connection(received.error().text());
      return;
    }
    const auto* publish = std::get_if<table_channel::Publish>(&received->message);
    if (publish == nullptr) return drop_connection("it sent what only a data plane sends");
    answer(*publish, received->fds);
  }
}

void TableStore::State::answer(const table_channel::Publish& publish,
                               std::span<const UniqueFd> fds) {
  Adoption adoption;
  adoption.version = publish.version;
  adoption.kinds.assign(publish.kinds.begin(), publish.kinds.begin() + publish.image_count);
  adoption.at = wall_now();
  const Instant started = monotonic_now();
  auto next = prove(publish, fds, adoption);
  adoption.proving_us = micros_since(started);
  if (next) {
    put_in_place(std::move(*next), adoption);
  } else {
    adoption.reason = next.error().text();
  }
  auto acknowledge =
      table_channel::make_acknowledge(adoption.outcome, publish.version, in_use(), adoption.reason);
  acknowledge.adopted_ns = monotonic_now().ns;
  remember(std::move(adoption));
  auto sent = table_channel::send(connection.get(), object_bytes(acknowledge), {});
  if (!sent) drop_connection(sent.error().text());
}

// Sets the outcome where there is an error.
Result<std::unique_ptr<const TableRoot>> TableStore::State::prove(
    const table_channel::Publish& publish, std::span<const UniqueFd> fds,
    Adoption& adoption) const {
  // Compared here, where the tables are used, before anything is spent on them.
  if (publish.version <= in_use()) {
    adoption.outcome = Outcome::stale;
    return fail(ErrorCode::conflict, "not newer than the tables in use");
  }
  auto images = map_images(publish, fds, adoption.image_bytes);
  auto next = images ? make_root(root.get(), publish.version, *images, options.seat_count)
                     : std::unexpected(std::move(images).error());
  if (!next) adoption.outcome = outcome_of(next.error());
  return next;
}

void TableStore::State::put_in_place(std::unique_ptr<const TableRoot> next, Adoption& adoption) {
  const Instant started = monotonic_now();
  swap(next.get());
  adoption.swapping_us = micros_since(started);
  if (root) keep_hits(*root, *next);
  root = std::move(next);  // frees the former one: swap has waited for its last reader
  if (saver && adoption.origin == Adoption::Origin::published) saver->submit(set_of(*root));
}

void TableStore::State::remember(Adoption adoption) {
  const auto& v = adoption.version;
  if (adoption.outcome == Outcome::adopted) {
    spdlog::debug("tables: {}.{} adopted: {} bytes, proven in {} us, swapped in {} us", v.epoch,
                  v.generation, adoption.image_bytes, adoption.proving_us, adoption.swapping_us);
  } else {
    spdlog::warn("tables: {}.{} {}: {}", v.epoch, v.generation,
                 table_channel::name_of(adoption.outcome), adoption.reason);
  }
  history.push_front(std::move(adoption));
  if (history.size() > adoptions_kept) history.pop_back();
}

// No worker counts in the former set any more. Policies that are gone are forgotten.
void TableStore::State::keep_hits(const TableRoot& former, const TableRoot& next) {
  if (former.policies == next.policies) return;
  std::map<std::string, std::uint64_t> kept;
  for (const auto& rule : next.catalog.policies().rules()) {
    const auto at = former_hits.find(std::string(rule.name()));
    if (at != former_hits.end()) kept.insert(*at);
    kept.try_emplace(std::string(rule.name()), 0);
  }
  const auto rules = former.catalog.policies().rules();
  for (std::uint32_t i = 0; i < rules.size(); ++i) {
    const auto at = kept.find(std::string(rules[i].name()));
    if (at != kept.end()) at->second += former.policies->hits(i);
  }
  former_hits = std::move(kept);
}

TableStore::TableStore(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}

Result<std::unique_ptr<TableStore>> TableStore::open(TableStoreOptions options, SwapRoot swap) {
  REQUIRE(swap != nullptr && options.ring_fds.size() <= table_channel::fds_max);
  auto state = std::make_unique<State>();
  state->options = std::move(options);
  state->swap = std::move(swap);
  if (::getrandom(&state->boot_id, sizeof state->boot_id, 0) != sizeof state->boot_id) {
    return fail_errno("getrandom");
  }
  state->epoll = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!state->epoll) return fail_errno("epoll_create1");
  // The socket first: who has it may write the files.
  auto listener = table_channel::listen_at(
      state->options.socket_path, others_may_connect(state->options.allowed_uid) ? 0666 : 0600);
  if (!listener) return std::unexpected(std::move(listener).error().in("tables socket"));
  state->listener = std::move(*listener);
  if (auto good = watch(state->epoll.get(), state->listener.get()); !good) {
    return std::unexpected(std::move(good).error());
  }
  if (!state->options.state_directory.empty()) {
    auto files = TableFiles::open(state->options.state_directory, state->options.seat_count);
    if (!files) return std::unexpected(std::move(files).error().in("tables on disk"));
    state->files = std::move(*files);
  }
  return std::unique_ptr<TableStore>(new TableStore(std::move(state)));
}

TableStore::~TableStore() {
  if (state_->root) state_->swap(nullptr);
  ::unlink(state_->options.socket_path.c_str());
}

TableStore::Loaded TableStore::load() {
  REQUIRE(state_->saver == nullptr && state_->root == nullptr);
  Loaded loaded;
  if (!state_->files) return loaded;
  Adoption adoption;
  adoption.origin = Adoption::Origin::disk;
  adoption.at = wall_now();
  const Instant started = monotonic_now();
  if (auto root = state_->files->load(loaded.notes)) {
    adoption.version = root->version;
    adoption.proving_us = micros_since(started);
    adoption.kinds = {ImageKind::catalog, ImageKind::locale_map, ImageKind::ranking_base};
    adoption.image_bytes = root->catalog_bytes->size_bytes() + root->locale_bytes->size_bytes();
    for (const auto& image : root->ranking_bytes) adoption.image_bytes += image->size_bytes();
    if (root->ranking_bytes.size() > 1) adoption.kinds.push_back(ImageKind::ranking_delta);
    state_->put_in_place(std::move(root), adoption);
    state_->remember(std::move(adoption));
    loaded.adopted = true;
  }
  state_->start_saver();
  return loaded;
}

int TableStore::fd() const noexcept {
  return state_->epoll.get();
}

void TableStore::on_readable() {
  state_->start_saver();
  state_->accept_waiting();
  state_->receive_waiting();
}

const TableRoot* TableStore::root() const noexcept {
  return state_->root.get();
}
bool TableStore::connected() const noexcept {
  return static_cast<bool>(state_->connection);
}
std::uint64_t TableStore::boot_id() const noexcept {
  return state_->boot_id;
}

std::vector<Adoption> TableStore::history() const {
  return {state_->history.begin(), state_->history.end()};
}

std::uint64_t TableStore::policy_hits(std::uint32_t rule) const {
  const auto& root = *state_->root;
  const auto at =
      state_->former_hits.find(std::string(root.catalog.policies().rules()[rule].name()));
  return root.policies->hits(rule) + (at == state_->former_hits.end() ? 0 : at->second);
}

SaverReport TableStore::saver_report() const {
  return state_->saver ? state_->saver->report() : SaverReport{};
}

}  // namespace pharos::dataplane
