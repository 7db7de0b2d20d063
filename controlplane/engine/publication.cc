#include "pharos/controlplane/engine/publication.hh"

#include <algorithm>

namespace pharos::controlplane {
namespace {

// A changed endpoint is a row of some 7 KiB: 16 of them are written, proven twice and adopted in less than a millisecond.
constexpr std::uint32_t merged_rows_max = 16;
// So long after a publish nobody is likely to send the next change at once.
constexpr Duration tidy_after = milliseconds(20);

RankingBuilder make_builder(const Tables& tables) {
  RankingLimits limits;
  limits.delta_segments_max =
      std::min(tables.world->config->controlplane.delta_segments_max, ranking::segments_max - 1);
  limits.merged_rows_max = merged_rows_max;
  return RankingBuilder(tables.world->pool_names(), tables.world->locales, tables.pools_id(),
                        tables.locales_id(), limits);
}

std::string text_of(const std::array<char, 256>& reason) {
  return {reason.begin(), std::find(reason.begin(), reason.end(), '\0')};
}

}  // namespace

Publication::Publication(std::shared_ptr<const Tables> tables, Version last, bool lost)
    : tables_(std::move(tables)), builder_(make_builder(*tables_)), last_(last), lost_(lost) {
  last_.epoch = std::max<std::uint64_t>(last_.epoch, 1);
}

void Publication::replace_tables(std::shared_ptr<const Tables> tables) {
  tables_ = std::move(tables);
  builder_ = make_builder(*tables_);
  if (in_flight_) in_flight_->of_former_tables = true;
  need_ = Need::everything;
  blocked_ = false;
}

Status Publication::apply(const Round& round) {
  Status result;
  for (const auto& change : round.changes) {
    const auto locales = round.locales_of(change);
    if (auto set = builder_.set(change.pool, locales, round.answers_of(change)); !set && result) {
      const auto& world = *tables_->world;
      result = std::unexpected(
          std::move(set).error().in("answers of " + world.pools[change.pool].pool.name() +
                                    " for locale " + world.locales[locales.front()]));
    }
  }
  if (!round.changes.empty()) blocked_ = false;
  return result;
}

Version Publication::next_version() const noexcept {
  return {last_.epoch, last_.generation + 1};
}

void Publication::connected(const table_channel::Hello& hello) {
  connected_ = true;
  blocked_ = false;
  const bool same_process = hello.boot_id == boot_id_ && boot_id_ != 0;
  if (in_flight_) {
    // The acknowledgement was lost with the connection; Hello says what became of it.
    settle(same_process && hello.in_use == in_flight_->version);
  }
  if (hello.in_use > last_ ||
      (lost_ && hello.in_use != Version{} && hello.in_use.epoch >= last_.epoch)) {
    // A past that we do not remember. Within our epoch, going on behind it is enough.
    const bool forgotten = lost_ || hello.in_use.epoch > last_.epoch;
    last_ = forgotten ? Version{hello.in_use.epoch + 1, 0} : hello.in_use;
  }
  lost_ = false;
  const bool has_all = same_process && hello.in_use == in_use_ &&
                       hello.ranking == view_.version() && hello.pools_id == tables_->pools_id() &&
                       hello.locales_id == tables_->locales_id();
  if (!has_all) need_ = Need::everything;
  boot_id_ = hello.boot_id;
  in_use_ = hello.in_use;
}

void Publication::disconnected() {
  connected_ = false;
}

bool Publication::settled() const noexcept {
  return connected_ && !in_flight_ && need_ == Need::delta && !builder_.dirty();
}

bool Publication::may_tidy(Instant now) const noexcept {
  return now - sent_at_ >= tidy_after && builder_.untidy();
}

Result<SealedImage> Publication::build_ranking(Version version, Need& what, ranking::View& view) {
  if (what == Need::delta) {
    auto delta = builder_.dirty() ? builder_.draft_delta(version) : builder_.draft_merged(version);
    if (delta) {
      auto sealed = SealedImage::seal(ImageKind::ranking_delta, *delta);
      auto proven = sealed ? view_.prove_delta(sealed->mapping.bytes())
                           : Result<ranking::View>(std::unexpected(sealed.error()));
      if (proven)
        view = std::move(*proven);
      else {
        builder_.rollback();
        return std::unexpected(std::move(proven).error().in("ranking delta that we built"));
      }
      return sealed;
    }
    if (delta.error().code != ErrorCode::exhausted)
      return std::unexpected(std::move(delta).error());
    what = Need::base;  // time to compact
  }
  auto base = builder_.draft_base(version);
  if (!base) return std::unexpected(std::move(base).error());
  auto sealed = SealedImage::seal(ImageKind::ranking_base, *base);
  auto proven = sealed ? ranking::View::prove_base(sealed->mapping.bytes())
                       : Result<ranking::View>(std::unexpected(sealed.error()));
  if (!proven) {
    builder_.rollback();
    return std::unexpected(std::move(proven).error().in("ranking base that we built"));
  }
  view = std::move(*proven);
  return sealed;
}

Result<std::optional<Outgoing>> Publication::next(Instant now) {
  if (!connected_ || in_flight_ || blocked_) return std::nullopt;
  if (need_ == Need::delta && !builder_.dirty() && !may_tidy(now)) return std::nullopt;
  InFlight sent;
  sent.version = next_version();
  sent.what = need_;
  auto ranking = build_ranking(sent.version, sent.what, sent.view);
  if (!ranking) {
    blocked_ = true;
    need_ = std::max(need_, Need::base);
    alarm_ = "nothing was published: " + ranking.error().text();
    return std::unexpected(std::move(ranking).error());
  }
  sent.ranking = std::move(*ranking);
  if (sent.what == Need::everything) sent.tables = tables_;
  Outgoing outgoing;
  outgoing.version = sent.version;
  if (sent.tables != nullptr) {
    outgoing.kinds = {ImageKind::catalog, ImageKind::locale_map};
    outgoing.fds = {tables_->catalog_image.fd.get(), tables_->locale_image.fd.get()};
  }
  outgoing.kinds.push_back(sent.ranking.kind);
  outgoing.fds.push_back(sent.ranking.fd.get());
  last_ = sent.version;
  sent_at_ = now;
  note(sent, now);
  in_flight_ = std::move(sent);
  return outgoing;
}

void Publication::note(const InFlight& sent, Instant now) {
  GenerationRecord record;
  record.version = sent.version;
  record.at = now;
  record.bytes = sent.ranking.mapping.size_bytes();
  if (sent.tables != nullptr) {
    record.kinds = {ImageKind::catalog, ImageKind::locale_map};
    record.bytes += sent.tables->catalog_image.mapping.size_bytes() +
                    sent.tables->locale_image.mapping.size_bytes();
  }
  record.kinds.push_back(sent.ranking.kind);
  generations_.push_front(std::move(record));
  if (generations_.size() > generations_kept) generations_.pop_back();
}

// The publish in flight became part of what the data plane has, or left no trace.
void Publication::settle(bool adopted) {
  auto sent = std::move(*in_flight_);
  in_flight_.reset();
  if (sent.of_former_tables) return;  // its builder is gone, and everything is to be sent anyway
  if (!adopted) {
    builder_.rollback();
    return;
  }
  builder_.commit();
  // A delta may stand in the place of the newest segments.
  const auto below = static_cast<std::ptrdiff_t>(sent.view.segment_count()) - 1;
  segments_.erase(segments_.begin() + below, segments_.end());
  segments_.push_back(std::move(sent.ranking));
  view_ = std::move(sent.view);
  if (need_ <= sent.what) need_ = Need::delta;
}

void Publication::acknowledged(const table_channel::Acknowledge& acknowledge) {
  if (!in_flight_ || acknowledge.version != in_flight_->version)
    return;  // of a publish that is settled
  using table_channel::Outcome;
  const bool adopted = acknowledge.outcome == Outcome::adopted;
  auto& record = generations_.front();
  record.outcome = adopted ? PublishOutcome::adopted : PublishOutcome::refused;
  record.reason = text_of(acknowledge.reason);
  record.adopted = Instant{acknowledge.adopted_ns};
  in_use_ = acknowledge.in_use;
  const auto what = in_flight_->what;
  const bool was_delta = what == Need::delta;
  settle(adopted);
  switch (acknowledge.outcome) {
    case Outcome::adopted:
      alarm_.clear();
      break;
    case Outcome::stale:
      // Something newer is in use there: go on behind it.
      last_ = std::max(last_, acknowledge.in_use);
      need_ = Need::everything;
      break;
    case Outcome::out_of_step:
      need_ = was_delta ? std::max(need_, Need::base) : Need::everything;
      break;
    case Outcome::refused:
      // Other bytes first, which may fit; the whole set would be refused again: keep what is in use until something changes.
      blocked_ = what == Need::everything;
      need_ = was_delta ? std::max(need_, Need::base) : Need::everything;
      alarm_ = "the data plane refused the tables of generation " +
               std::to_string(acknowledge.version.generation) + ": " + record.reason;
      break;
  }
}

}  // namespace pharos::controlplane
