// exp, exp2, expm1, log, log1p, tanh, sigmoid and erf on vec<T>, over the whole range of T:
// denormals in and out, infinities as in C's <math.h>, NaN in gives NaN out.
//
// Each reduces its argument to a short interval and evaluates a minimax polynomial there. The
// coefficients come from coefficients.py (Remez' exchange), which prints them with their errors.
//
// The largest error in ulp that `python tests/test_simd.py` found (30 million float32 arguments and
// a million float64 ones a function, a tenth of that for erf; with FMA, and in the scalar baseline,
// which has none):
//
//              exp   expm1   log   log1p   tanh  sigmoid  erf
//   float32    0.91  1.58   0.88   0.87    1.01   1.47    1.10
//     no FMA   1.19  1.70   0.89   0.94    1.14   1.60    1.33
//   float64    0.85  1.80   0.90   0.83    1.35   1.49    1.04
//     no FMA   1.11  1.89   0.90   0.83    1.28   1.49    1.39
//
// On AVX-512 tanh and erf of floats come from table.h.
//
// exp2 errs by at most 0.87 ulp in both (1.0 without FMA). exp, the inner loop of softmax, is 12
// arithmetic instructions on AVX-512; exp2, attention's, 9.
#pragma once

#include "simd/table.h"
#include "simd/vec.h"

namespace pyfast::PYFAST_ISA {

// c0 + c1 x + c2 x^2 + ..., by Horner's rule.
template <class T>
PYFAST_INLINE vec<T> polynomial(vec<T>, double last) {
  return vec<T>(static_cast<T>(last));
}
template <class T, class... Rest>
PYFAST_INLINE vec<T> polynomial(vec<T> x, double c, Rest... rest) {
  return fma(polynomial(x, rest...), x, vec<T>(static_cast<T>(c)));
}

// Numbers the functions below share. ln2 is split in two: n ln2_high is exact for any exponent n.
template <class T>
struct constants;
template <>
struct constants<float> {
  static constexpr float ln2_high = 0x1.63p-1f, ln2_low = -0x1.bd0106p-13f;
  static constexpr float exp_low = -104, exp_high = 89;  // exp is 0 below, infinite above
  static constexpr float exp2_low = -151, exp2_high = 129;
  static constexpr float expm1_low = -18;          // expm1 is -1 below
  static constexpr float round_shift = 0x1.8p23f;  // adding it rounds to an integer
  static constexpr float smallest_normal = 0x1p-126f;
  static constexpr float tiny = 0x1p-26f;                 // expm1 and log1p are the identity below
  static constexpr std::uint32_t root_half = 0x3f3504f3;  // sqrt(1/2)
};
template <>
struct constants<double> {
  static constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr double exp_low = -746, exp_high = 710, expm1_low = -38;
  static constexpr double exp2_low = -1076, exp2_high = 1025;
  static constexpr double round_shift = 0x1.8p52;
  static constexpr double smallest_normal = 0x1p-1022;
  static constexpr double tiny = 0x1p-55;
  static constexpr std::uint64_t root_half = 0x3fe6a09e667f3bcd;
};

// x = n ln2 + r, n an integer and |r| <= ln2 / 2. The low bits of `shifted` hold n + 2 bias.
template <class T>
struct exp_reduction {
  vec<T> n, shifted, r;

  PYFAST_INLINE explicit exp_reduction(vec<T> x) {
    using k = constants<T>;
    const vec<T> shift(k::round_shift + 2 * bits<T>::kBias);
    shifted = fma(x, vec<T>(static_cast<T>(0x1.71547652b82fep+0)), shift);
    n = shifted - shift;
    r = fma(n, vec<T>(-k::ln2_low), fma(n, vec<T>(-k::ln2_high), x));
  }
};

// (e^r - 1 - r) / r^2 on |r| <= ln2 / 2: degree 4 and 10.
template <class T>
PYFAST_INLINE vec<T> exp_tail(vec<T> r) {
  if constexpr (sizeof(T) == 4)
    return polynomial(r, 0.4999999801836639, 0.16666543102886316, 0.041667214828891116,
                      0.008366598428107521, 0.001388235233387287);
  else
    return polynomial(r, 0.5, 0.16666666666666677, 0.041666666666666505, 0.008333333333321606,
                      0.0013888888888962893, 0.00019841269886208064, 2.480158717185511e-05,
                      2.7557244104088255e-06, 2.755740293150887e-07, 2.5109081431783478e-08,
                      2.0875330973224845e-09);
}

template <class T>
PYFAST_INLINE vec<T> exp_polynomial(vec<T> r) {
  return fma(fma(exp_tail(r), r, vec<T>(T{1})), r, vec<T>(T{1}));
}

// 2^r on |r| <= 1/2, and exactly 1 at 0: (2^r - 1) / r has degree 5 and 11.
template <class T>
PYFAST_INLINE vec<T> exp2_polynomial(vec<T> r, double scale = 1) {
  const double s = scale;
  vec<T> tail;
  if constexpr (sizeof(T) == 4)
    tail =
        polynomial(r, s * 0.6931472029851083, s * 0.24022647896949184, s * 0.055503321627929474,
                   s * 0.009618438593885377, s * 0.0013399003498284444, s * 0.0001535325981017915);
  else
    tail = polynomial(
        r, s * 0.6931471805599453, s * 0.24022650695910072, s * 0.05550410866482169,
        s * 0.009618129107628328, s * 0.0013333558146392407, s * 0.00015403530393642788,
        s * 1.5252733854618257e-05, s * 1.321548659374573e-06, s * 1.017805180634653e-07,
        s * 7.0549747277142475e-09, s * 4.456592474554839e-10, s * 2.562531749586647e-11);
  return fma(tail, r, vec<T>(static_cast<T>(scale)));
}

#if defined(PYFAST_ISA_AVX512)

// scale 2^x, of a power of 2, exactly that many times 2^x. The reduced argument of an infinity is
// 0, so all that is out of range is left to scalef.
template <class T>
PYFAST_INLINE vec<T> exp2(vec<T> x, double scale = 1) {
  const vec<T> r(backend::from_nearest(x.v));
  return vec<T>(backend::scalef(exp2_polynomial(r, scale).v, (x - r).v));
}

template <class T>
PYFAST_INLINE vec<T> exp(vec<T> x) {
  const exp_reduction<T> s(x);
  // Out of range, r is garbage or NaN: bounded, it leaves the result to scalef, which makes 0, inf
  // or NaN of the n that x gave.
  return vec<T>(backend::scalef(exp_polynomial(vec<T>(backend::bound_by_one(s.r.v))).v, s.n.v));
}

template <class T>
PYFAST_INLINE vec<T> exp_normal(vec<T> x) {
  return exp(x);
}

#else

// exp where the result is normal, or of NaN: two thirds of the instructions.
template <class T>
PYFAST_INLINE vec<T> exp_normal(vec<T> x) {
  using b = bits<T>;
  const exp_reduction<T> s(x);
  return exp_polynomial(s.r) * b::to((b::of(s.shifted) - b::kBias) << b::kMantissa);
}

// Where the result is 0, so is what would underflow to it: that costs x86 some 150 cycles, and
// every masked score and every empty lane of a softmax is minus infinity.
template <class T>
PYFAST_INLINE vec<T> exp2(vec<T> x) {
  using b = bits<T>;
  using k = constants<T>;
  const mask<T> vanishes = x < vec<T>(k::exp2_low);
  const vec<T> in = max(vec<T>(k::exp2_low), min(vec<T>(k::exp2_high), x));
  const vec<T> shift(k::round_shift + 2 * b::kBias), shifted = in + shift;
  const auto n = b::of(shifted), half = n >> 1;
  const vec<T> y = exp2_polynomial(in - (shifted - shift)) * b::to(half << b::kMantissa);
  return clear(vanishes, y) * b::to((n - half) << b::kMantissa);
}

template <class T>
PYFAST_INLINE vec<T> exp(vec<T> x) {
  using b = bits<T>;
  using k = constants<T>;
  const mask<T> vanishes = x < vec<T>(k::exp_low);
  const exp_reduction<T> s(max(vec<T>(k::exp_low), min(vec<T>(k::exp_high), x)));
  // 2^n as a product of two powers: both stay normal, and only the last product rounds.
  const auto n = b::of(s.shifted), half = n >> 1;
  const vec<T> y = exp_polynomial(s.r) * b::to(half << b::kMantissa);
  return clear(vanishes, y) * b::to((n - half) << b::kMantissa);
}

#endif

template <class T>
PYFAST_INLINE vec<T> expm1(vec<T> x) {
  using b = bits<T>;
  using k = constants<T>;
  const exp_reduction<T> s(max(vec<T>(k::expm1_low), min(vec<T>(k::exp_high), x)));
  // e^x - 1 = 2 (s p + (s - 1/2)) with s = 2^(n-1), which never overflows, and p = e^r - 1.
  const vec<T> scale = b::to((b::of(s.shifted) - (b::kBias + 1)) << b::kMantissa);
  const vec<T> p = fma(s.r * s.r, exp_tail(s.r), s.r);
  const vec<T> y = fma(scale, p, scale - vec<T>(T(0.5)));
  return select(abs(x) < vec<T>(k::tiny), x, y + y);
}

// x = 2^exponent mantissa, mantissa in [sqrt(1/2), sqrt(2)), for finite x > 0.
template <class T>
struct log_reduction {
  vec<T> exponent, mantissa;

#if defined(PYFAST_ISA_AVX512)
  PYFAST_INLINE explicit log_reduction(vec<T> x)
      : exponent(backend::exponent(x.v)), mantissa(backend::mantissa(x.v)) {
    const mask<T> upper = mantissa > vec<T>(T(0x1.6a09e667f3bcdp+0));
    mantissa = select(upper, mantissa * vec<T>(T(0.5)), mantissa);
    exponent = select(upper, exponent + vec<T>(T{1}), exponent);
  }
#else
  PYFAST_INLINE explicit log_reduction(vec<T> x) {
    using b = bits<T>;
    using word = typename b::word;
    using k = constants<T>;
    constexpr T two_to_mantissa = static_cast<T>(std::int64_t{1} << b::kMantissa);
    constexpr word one = word{b::kBias} << b::kMantissa;
    const mask<T> denormal = x < vec<T>(k::smallest_normal);
    const auto n = b::of(select(denormal, x * vec<T>(two_to_mantissa), x)) + (one - k::root_half);
    mantissa = b::to((n & ((word{1} << b::kMantissa) - 1)) + k::root_half);
    // The biased exponent as the last bits of a number that has no others.
    const auto biased = (n >> b::kMantissa) | b::of(vec<T>(two_to_mantissa));
    const vec<T> bias(two_to_mantissa + b::kBias);
    exponent = b::to(biased) - select(denormal, bias + vec<T>(static_cast<T>(b::kMantissa)), bias);
  }
#endif
};

// exponent ln2 + log(1 + f) + correction for 1 + f in [sqrt(1/2), sqrt(2)].
template <class T>
PYFAST_INLINE vec<T> log_sum(vec<T> exponent, vec<T> f, vec<T> correction) {
  using k = constants<T>;
  const vec<T> low = fma(exponent, vec<T>(k::ln2_low), correction);
  if constexpr (sizeof(T) == 4) {  // f + f^2 P(f), degree 8
    const vec<T> tail = polynomial(f, -0.4999998834618277, 0.33333325693185484, -0.2500158297268466,
                                   0.20001973893749497, -0.1660908233205225, 0.14181825270032358,
                                   -0.13242989443629258, 0.12904435204333922, -0.07621778500507816);
    // exponent ln2_high is exact, and no smaller than f: so is what rounding takes from their sum
    const vec<T> high = exponent * vec<T>(k::ln2_high), sum = high + f, lost = f - (sum - high);
    return sum + fma(f * f, tail, low + lost);
  } else {
    // 2 atanh(s) with s = f / (2 + f): 2 s + s z P(z), z = s^2, degree 6. Since 2 s = f - s f this
    // is f - s (f - z P), and what is rounded is small beside f.
    const vec<T> s = f / (f + vec<T>(2.0)), z = s * s;
    const vec<T> tail = polynomial(z, 0.6666666666666734, 0.39999999999414676, 0.2857142874238778,
                                   0.2222219857317723, 0.18183564326069543, 0.1531405056328444,
                                   0.14795949502747258);
    return fma(exponent, vec<T>(k::ln2_high), f - (s * (f - z * tail) - low));
  }
}

// What log(u) is where u is not positive and finite: y elsewhere.
template <class T>
PYFAST_INLINE vec<T> log_specials(vec<T> u, vec<T> y) {
  const vec<T> zero, infinity(static_cast<T>(__builtin_inf()));
  const vec<T> bad = select(u == zero, -infinity, vec<T>(static_cast<T>(__builtin_nan(""))));
  return select(u > zero, select(u == infinity, infinity, y), bad);
}

template <class T>
PYFAST_INLINE vec<T> log(vec<T> x) {
  const log_reduction<T> s(x);
  return log_specials(x, log_sum(s.exponent, s.mantissa - vec<T>(T{1}), vec<T>()));
}

template <class T>
PYFAST_INLINE vec<T> log1p(vec<T> x) {
  const vec<T> one(T{1}), u = one + x;
  const log_reduction<T> s(u);
  // What rounding took from 1 + x (Knuth's two-sum), to first order; near 1 we use x itself.
  const vec<T> back = u - one, lost = (one - (u - back)) + (x - back);
  const mask<T> near = s.exponent == vec<T>();
  const vec<T> f = select(near, x, s.mantissa - one);
  const vec<T> y = log_sum(s.exponent, f, select(near, vec<T>(), lost / u));
  return select(abs(x) < vec<T>(constants<T>::tiny), x, log_specials(u, y));
}

#if defined(PYFAST_ISA_AVX512)
PYFAST_INLINE vec<float> tanh(vec<float> x) { return odd_by_table(tanh_table, x); }
PYFAST_INLINE vec<float> erf(vec<float> x) { return odd_by_table(erf_table, x); }
#endif

template <class T>
PYFAST_INLINE vec<T> tanh(vec<T> x) {
  const vec<T> one(T{1}), a = abs(x), z = x * x;
  // x + x^3 P(x^2) below `split`: degree 6 and 10
  constexpr T split = static_cast<T>(sizeof(T) == 4 ? 1.0 : 0.625);
  vec<T> tail;
  if constexpr (sizeof(T) == 4)
    tail = polynomial(z, -0.33333298899785857, 0.1333241145910574, -0.05388410729382639,
                      0.021499411070415836, -0.007965227069543898, 0.0023154751394503736,
                      -0.0003625255333636062);
  else
    tail = polynomial(z, -0.33333333333332876, 0.13333333333264918, -0.053968253932482994,
                      0.021869487601977985, -0.008863221319409255, 0.0035919915717532156,
                      -0.001454970481086844, 0.0005863524999912174, -0.00022863327244765401,
                      7.721921387410553e-05, -1.6107562460116124e-05);
  const vec<T> far = min(vec<T>(T{20}), a);  // where tanh is 1
  const vec<T> large = one - vec<T>(T{2}) / (exp_normal(far + far) + one);
  return copysign(select(a < vec<T>(split), fma(a * z, tail, a), large), x);
}

// 1 / (1 + e^-x), from e = e^-|x|, which never overflows. Below 0 it is q = e / (1 + e), to which
// one Newton step adds what rounding 1 + e took: e - q is exact, q being at least e / 2. Above 0
// 1 - q leaves of that rounding only a share of e.
template <class T>
PYFAST_INLINE vec<T> sigmoid(vec<T> x) {
  const vec<T> one(T{1}), e = exp(-abs(x)), upper = one / (one + e), q = e * upper;
  return select(x < vec<T>(), fma(fma(-q, e, e - q), upper, q), fma(-e, upper, one));
}

// x sigmoid(x): one division, and above 0 no product behind it.
template <class T>
PYFAST_INLINE vec<T> silu(vec<T> x) {
  const vec<T> one(T{1}), e = exp(-abs(x));
  const mask<T> below = x < vec<T>();
  const vec<T> upper = select(below, one, x) / (one + e), q = e * upper;
  return select(below, x * fma(fma(-q, e, e - q), upper, q), upper);
}

template <class T>
PYFAST_INLINE vec<T> erf(vec<T> x) {
  const vec<T> z = x * x;
  // x + x P(x^2) below `split`: degree 5 and 11. Above, 1 - exp(-P(|x|)): degree 6 and 18, where
  // P is -log(erfc); 1 from `end` on.
  constexpr T split = static_cast<T>(sizeof(T) == 4 ? 0.875 : 1.0);
  constexpr T end = static_cast<T>(sizeof(T) == 4 ? 3.93 : 5.95);
  const vec<T> a = min(vec<T>(end), abs(x));
  vec<T> small, large;
  if constexpr (sizeof(T) == 4) {
    small = polynomial(z, 0.12837915853985743, -0.376125571522874, 0.11282524181569492,
                       -0.026793954889116275, 0.005035872215010241, -0.0006222423021995562);
    large = polynomial(a, 0.0001335780186265835, 1.1279361135119592, 0.6367372531910616,
                       0.10432748398145673, -0.022420207433028198, 0.003092289502778741,
                       -0.0002009959500208741);
  } else {
    small = polynomial(z, 0.12837916709551256, -0.3761263890318355, 0.11283791670945253,
                       -0.02686617064327622, 0.005223977607423468, -0.0008548325989696758,
                       0.00012055295320494294, -1.4924744663335489e-05, 1.6447517677871873e-06,
                       -1.6209175911748696e-07, 1.3722976265924504e-08, -7.801188874097751e-10);
    large = polynomial(a, 1.7960779531604472e-07, 1.1283773293844501, 0.6366284883764907,
                       0.10274725361959038, -0.019078157787807, -0.0002804859459170401,
                       0.001768998013531724, -0.0006411706373269516, 4.4821201318512896e-05,
                       7.036722223120444e-05, -4.503757938080658e-05, 1.6513993929984096e-05,
                       -4.327055589404376e-06, 8.505776023527141e-07, -1.2570569280614666e-07,
                       1.3626824081143255e-08, -1.0257137155114953e-09, 4.7961179850978363e-11,
                       -1.0496436252716398e-12);
  }
  const vec<T> upper = vec<T>(T{1}) - exp_normal(-large);
  return select(abs(x) < vec<T>(split), fma(x, small, x), copysign(upper, x));
}

}  // namespace pyfast::PYFAST_ISA
