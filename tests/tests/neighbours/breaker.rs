//! One client that makes a plugin trap does not have it held back for others.
