//! One function, two compilations: for any processor, and for those with AVX2, FMA and F16C.
//!
//! Both come from the same source, so they differ only in the instructions that the compiler may use; tests of the functions
//! that use this compare them bit for bit.

/// Whether this processor runs the wide compilation.
#[inline(always)]
pub fn wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Makes `$name` of `$body`, which must be `#[inline(always)]`, as is everything hot that it calls: a module with `plain` and
/// `wide`, and `best`, which takes the second where the processor has what it needs.
macro_rules! two_ways {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:ident) => {
        $(#[$doc])*
        pub mod $name {
            use super::*;

            /// For any processor.
            #[inline(never)]
            pub fn plain($($arg: $ty),*) $(-> $ret)? {
                $body($($arg),*)
            }

            /// For processors with AVX2, FMA and F16C.
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            pub fn wide($($arg: $ty),*) $(-> $ret)? {
                $body($($arg),*)
            }

            /// The faster of what this processor runs.
            #[inline(always)]
            pub fn best($($arg: $ty),*) $(-> $ret)? {
                #[cfg(target_arch = "x86_64")]
                if $crate::exec::simd::wide() {
                    // SAFETY: the processor has just been found to have every feature that `wide` is compiled for.
                    return unsafe { wide($($arg),*) };
                }
                plain($($arg),*)
            }
        }
    };
}
pub(crate) use two_ways;
