// The name policies of one configuration, ready for the catalog: rules in order, plain patterns, compiled expressions.
//
// Made off the engine thread whenever tables are built; constant after that and shared. Expressions are compiled again only
// where they or the order of their rules changed. verdict_of() says what the packet path will say of a name: the builder
// puts it into the nodes of names that zones list.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/config/model.hh"
#include "pharos/controlplane/image/catalog_builder.hh"
#include "pharos/controlplane/policy/expression_compiler.hh"
#include "pharos/shared/policy_image.hh"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace pharos::controlplane {

class NamePolicies {
 public:
  // `bindings` are those of all services: a route answers the types of the first name of its service. `former` may be
  // null. Null for a configuration without policies. Errors: invalid, with file and line of the pattern (several joined
  // by line breaks); conflict (a rate class or service that is not there, a route to too many types).
  [[nodiscard]] static Result<std::shared_ptr<const NamePolicies>> make(
      const config::Config& config, std::span<const PoolBinding> bindings,
      const NamePolicies* former, const CompileLimits& limits = {});
  ~NamePolicies();
  NamePolicies(const NamePolicies&) = delete;
  NamePolicies& operator=(const NamePolicies&) = delete;

  [[nodiscard]] std::span<const catalog::PolicyRule> rules() const noexcept;
  [[nodiscard]] std::span<const catalog::PlainPattern> plain() const noexcept;  // each name once
  // The section policy_database; empty where no pattern is an expression.
  [[nodiscard]] ConstBytes database() const noexcept;
  [[nodiscard]] std::size_t expression_count() const noexcept;

  // The verdict for a whole sound name: of the first rule that takes it, passing over routes where a zone lists it.
  // One caller at a time.
  [[nodiscard]] std::uint32_t verdict_of(ConstBytes name, bool listed) const;
  // Whether all names have the same verdicts from both.
  [[nodiscard]] bool gives_verdicts_of(const NamePolicies& other) const;
  // All rules that take the name, as indices in order. Any thread.
  [[nodiscard]] std::vector<std::uint32_t> matches_of(ConstBytes name) const;
  // The first pattern of a rule that takes the name, with its place: "file:line: pattern". Compiles: slow.
  [[nodiscard]] std::string pattern_of(std::uint32_t rule, ConstBytes name,
                                       const config::Config& config) const;

 private:
  struct State;
  explicit NamePolicies(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace pharos::controlplane
