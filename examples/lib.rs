//! Example programs; each is one file beside this one.
