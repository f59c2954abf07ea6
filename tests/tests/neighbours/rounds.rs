//! Messages that are handled together share speed, not fate.
