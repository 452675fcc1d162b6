//! Loops for the widest vector registers that the processor has.

use pulp::{Arch, Simd, WithSimd};

/// Does `work` by code that is compiled for each kind of processor, of which this one's is taken.
///
/// That holds for what is inlined alone: the closure must be `#[inline(always)]`, and so must what it
/// calls. It is called by reference, for the compiler never inlines the detour of a closure that is
/// called by value.
#[inline(always)]
pub fn vectorised<R>(work: impl FnMut() -> R) -> R {
    struct Work<F>(F);
    impl<R, F: FnMut() -> R> WithSimd for Work<F> {
        type Output = R;

        #[inline(always)]
        fn with_simd<S: Simd>(mut self, _: S) -> R {
            (self.0)()
        }
    }
    Arch::new().dispatch(Work(work))
}
