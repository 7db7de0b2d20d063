#include "pharos/dataplane/observe/hot_names.hh"

#include "pharos/wire/name_text.hh"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

namespace pharos::dataplane {

namespace {

constexpr std::uint8_t rcode_nxdomain = 3;

// Length octets are below 'A': a name folds as text does.
[[nodiscard]] std::string folded(ConstBytes name) {
  std::string text(as_text(name));
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

}  // namespace

HotNames::HotNames(Instant now, unsigned capacity, Duration fade)
    : capacity_(capacity), fade_(fade), began_(now), now_(now) {
  counts_.reserve(capacity);
  details_.reserve(capacity);
  index_.reserve(capacity);
}

std::size_t HotNames::place_of(const std::string& name) {
  if (const auto found = index_.find(name); found != index_.end()) return found->second;
  std::size_t place = counts_.size();
  if (place < capacity_) {
    counts_.push_back(0);
    details_.emplace_back();
  } else {
    place =
        static_cast<std::size_t>(std::distance(counts_.begin(), std::ranges::min_element(counts_)));
    index_.erase(index_.find(*details_[place].name));
    details_[place] = {.uncertain = counts_[place]};
  }
  details_[place].name = &index_.emplace(name, place).first->first;
  return place;
}

void HotNames::add(ConstBytes record) {
  if (record.size() <= sizeof(NameSampleHead)) return;
  const auto head = load<NameSampleHead>(record.data());
  const auto name = record.subspan(sizeof head);
  if (!dns::name_is_sound(name)) return;
  ++samples_;
  const double weight = head.weight;
  total_ += weight;
  const auto place = place_of(folded(name));
  counts_[place] += weight;
  if (!head.answered) {
    details_[place].dropped += weight;
  } else if (head.rcode == rcode_nxdomain) {
    details_[place].nxdomain += weight;
  }
}

void HotNames::advance(Instant now) {
  const double kept = std::exp(-(now - now_).seconds() / fade_.seconds());
  now_ = now;
  total_ *= kept;
  for (auto& count : counts_) count *= kept;
  for (auto& detail : details_) {
    detail.uncertain *= kept;
    detail.nxdomain *= kept;
    detail.dropped *= kept;
  }
}

// A steady rate r has come to r * fade * (1 - e^(-age/fade)).
double HotNames::scale() const noexcept {
  const double age = (now_ - began_).seconds() / fade_.seconds();
  return fade_.seconds() * std::max(1 - std::exp(-age), 0.01);
}

double HotNames::per_second() const noexcept {
  return total_ / scale();
}

std::vector<HotName> HotNames::top(unsigned rows) const {
  std::vector<std::size_t> order(counts_.size());
  for (std::size_t place = 0; place < order.size(); ++place) order[place] = place;
  const auto shown = std::min<std::size_t>(rows, order.size());
  const auto certain = [&](std::size_t place) {
    return counts_[place] - details_[place].uncertain;
  };
  std::ranges::partial_sort(
      order, order.begin() + static_cast<std::ptrdiff_t>(shown), [&](auto a, auto b) {
        return certain(a) != certain(b) ? certain(a) > certain(b) : counts_[a] > counts_[b];
      });
  std::vector<HotName> names;
  for (std::size_t i = 0; i < shown; ++i) {
    const auto place = order[i];
    const Detail& detail = details_[place];
    // Of what is certain, and so of the samples that were this name's.
    const double own = std::max(certain(place), 1e-9);
    names.push_back({.name = dns::name_text(as_bytes(*detail.name)),
                     .per_second = counts_[place] / scale(),
                     .uncertain_per_second = detail.uncertain / scale(),
                     .share = total_ > 0 ? counts_[place] / total_ : 0,
                     .nxdomain_share = std::min(1.0, detail.nxdomain / own),
                     .dropped_share = std::min(1.0, detail.dropped / own)});
  }
  return names;
}

double HotNames::share_of_top(unsigned rows) const {
  double share = 0;
  for (const auto& name : top(rows))
    share += name.share * (1 - name.uncertain_per_second / std::max(name.per_second, 1e-9));
  return std::min(share, 1.0);
}

}  // namespace pharos::dataplane
