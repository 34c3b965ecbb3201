//! The same load alone, and then beside something that disturbs.
//!
//! Owns what is compared of the two. Must not know what disturbs.

use crate::case::Case;
use crate::load::Load;
use crate::measure::Used;
use crate::report::Sample;

/// Two runs of one load.
pub(crate) struct Beside {
    pub(crate) alone: Load,
    /// Of the disturbed one.
    pub(crate) load: Load,
    pub(crate) used: Used,
}

impl Beside {
    pub(crate) fn sample(&self, case: &Case) -> Sample {
        let (load, alone) = (&self.load, &self.alone);
        Sample::new(case, load, &self.used)
            .with("% of the rate alone", 100.0 * load.rate() / alone.rate().max(1.0))
            .with("p99 ms alone", alone.p99_ms)
    }
}
