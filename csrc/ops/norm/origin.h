// What values are measured from before they are scaled: their mean rounded to T, unless they
// scatter about 0 as about their mean (its square is at most the variance): then from 0, which
// costs no rounding, and what is 0, in sparse data most, becomes the rounded shift itself.
// Force-inlined: kernels compiled for different instruction sets share the text, never the symbol.
#pragma once

namespace pyfast {

template <class T>
__attribute__((always_inline)) inline T origin_of(double mean, double var) {
  return mean * mean <= var ? T{0} : static_cast<T>(mean);
}

}  // namespace pyfast
