//! A pool under random operations and under load.

mod model;
mod overload;
mod random;
