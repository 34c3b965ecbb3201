//! A reactor whose allocations are counted.

mod steady_state;
