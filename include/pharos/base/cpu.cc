#include "pharos/base/cpu.hh"

#include <string>

namespace pharos {

Status check_cpu() {
  std::string missing;
  const auto need = [&missing](bool has, const char* name) {
    if (!has) missing += missing.empty() ? name : std::string(", ") + name;
  };
  __builtin_cpu_init();
  need(__builtin_cpu_supports("avx2"), "AVX2");
  need(__builtin_cpu_supports("bmi2"), "BMI2");
  need(__builtin_cpu_supports("fma"), "FMA");
  need(__builtin_cpu_supports("aes"), "AES-NI");
  need(__builtin_cpu_supports("pclmul"), "PCLMUL");
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  need(__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"),
       "AVX-512 (BW, VL)");
#endif
  if (missing.empty()) return {};
  return fail(ErrorCode::unsupported,
              "this build needs " + missing + ", which this CPU does not have", {},
              "build with -Dcpu=x86-64-v3 or, on this machine, -Dcpu=native");
}

}  // namespace pharos
